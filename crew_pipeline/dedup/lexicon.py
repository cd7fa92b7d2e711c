"""Closed lists of English function words, fillers, negations and opposites.

They hold grammar and habits of speech, no subject matter, so that they carry over from one kind of conversation to
another. Words of other languages are in none of the lists: they count as content.
"""

from __future__ import annotations


def _listed(listed: str) -> list[str]:
    return listed.split()


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


FILLERS = _words(
    """
    um uh uhm umm er erm hm hmm hmmm mm mmm mm-hmm mhm uh-huh ah oh eh huh ooh aha yeah yep yup yea yes yess ya okay ok
    'kay kay k alright right well so like just actually basically really anyway literally honestly obviously sorta kinda
    hey hi hello please pls plz thanks thank thx ty tnx cheers lol haha hehe heh rofl btw and but then also now still
    even there here very quite some too man dude guys sorry
    """
)
"""Discourse markers, backchannels, greetings, politeness: they carry no content of their own beside other words."""

FUNCTION_WORDS = (
    _words(
        """
    the a an is are was were be been being am do does did done have has had having will would can could should shall may
    might must i you he she it we they me him her us them my your his its our their mine yours this that these those to
    of in on at for with from by as into about than or if because cause 's n't 'm 're 've 'll 'd not no what which who
    whom whose when where why how all any one ones it's i'm you're that's there's what's he's she's we're they're i've
    you've we've i'd you'd i'll you'll we'll don't doesn't didn't can't won't isn't aren't wasn't thing things something
    anything someone anyone somebody anybody u ur im ive id dont cant wont isnt thats whats
    """
    )
    | FILLERS
)
"""Words that may differ between two lines that say the same."""

NEGATIONS = _words(
    """
    no not never none nothing nobody neither nor nowhere without cannot cant can't won't wont don't dont doesn't doesnt
    didn't didnt isn't isnt aren't arent wasn't wasnt weren't werent hasn't hasnt haven't havent hadn't hadnt shouldn't
    shouldnt wouldn't wouldnt couldn't couldnt mustn't needn't ain't aint unable fails failed hardly nope nah
    """
)

OPPOSITES = tuple(
    tuple(pair.split("/"))
    for pair in _listed(
        """
    yes/no on/off enable/disable enabled/disabled start/stop started/stopped open/close opened/closed add/remove
    added/removed install/uninstall installed/uninstalled up/down before/after more/less increase/decrease first/last
    left/right true/false good/bad always/never can/cannot accept/reject accepted/rejected approve/decline
    approved/declined passed/failed push/pull upload/download mount/unmount online/offline old/new fast/slow hot/cold
    cheap/expensive high/low higher/lower bigger/smaller allow/deny agree/disagree buy/sell login/logout early/late
    morning/evening morning/afternoon today/tomorrow today/yesterday morning/night first/second second/third
    started/finished in/out with/without inside/outside top/bottom hard/easy hard/soft big/small long/short begin/end
    win/lose won/lost rise/fall love/hate likes/hates safe/dangerous full/empty male/female plus/minus include/exclude
    included/excluded possible/impossible correct/wrong right/wrong better/worse best/worst north/south east/west
    above/below working/broken works/broke single/double larger/smaller greater/less greater/smaller heavier/lighter
    longer/shorter taller/shorter older/newer older/younger faster/slower earlier/later nearer/farther wider/narrower
    warmer/colder hotter/colder louder/quieter brighter/darker deeper/shallower large/small wide/narrow loud/quiet
    bright/dark light/dark light/heavy strong/weak dry/wet clean/dirty near/far thick/thin deep/shallow public/private
    internal/external minimum/maximum min/max lock/unlock locked/unlocked visible/hidden show/hide shown/hidden
    import/export lend/borrow send/receive sent/received arrive/leave arrived/left arrival/departure increase/reduce
    increased/reduced raise/lower raised/lowered gain/loss profit/loss load/unload pass/fail passes/fails succeed/fail
    succeeded/failed success/failure succeeds/fails remember/forget same/different everything/nothing everybody/nobody
    everyone/nobody all/none many/few ascending/descending forward/backward forwards/backwards vertical/horizontal
    odd/even positive/negative guilty/innocent alive/dead awake/asleep present/absent summer/winter spring/autumn
    weekday/weekend breakfast/dinner lunch/dinner breakfast/lunch harmful/safe harmful/harmless useful/useless
    careful/careless upstairs/downstairs indoors/outdoors northbound/southbound buyer/seller sender/recipient
    client/server input/output source/target read/write reads/writes
    """
    )
)
"""Pairs of words: a line that holds one of them contradicts a line that holds the other."""

DENYING_PREFIXES = ("un", "in", "im", "ir", "il", "non", "dis", "mis", "de")

NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        _listed(
            """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty"""
        )
    )
    if word != "one"  # a pronoun more often than a number
} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "half": "1/2",
}

VALUE_WORDS = _words(
    """
    monday tuesday wednesday thursday friday saturday sunday january february april june july august september october
    november december today tomorrow yesterday tonight red green blue yellow black white orange purple pink brown grey
    """
)
"""Words that name one of a few values: a line with one of them says something else than a line with another."""

QUESTION_OPENERS = _words(
    """
    who what when where why how which whose whats wheres hows can could should would is are was were do does did has
    have will shall may am anyone anybody someone isn't aren't don't doesn't didn't won't any
    """
)
"""First words of questions, with or without a question mark."""

QUESTION_WORDS = _words("who whom whose what whats what's which when where why how")
"""Words that say what is asked for."""

REQUESTS = _words("help need want trying anyone anybody someone somebody wondering know how possible suggest")
"""Words by which people ask for something without a question."""

THANKS = _words("thanks thank thx ty tnx cheers thankyou appreciate")
GREETINGS = _words("hi hello hey morning evening welcome bye goodbye cya goodnight")

PERSONS = (
    _words("i i'm im i've ive i'll i'd id my me mine myself"),
    _words("you you're youre your u ur yours yourself you've you'll you'd"),
    _words("he she they him her them his their he's she's they're"),
    _words("we our us we're we've we'll we'd let's lets"),
)
"""First, second and third person, and we."""

AFTER_A_NAME = _words(
    "you your you're u where how what why when do did are try so ok okay yes no yeah thanks ty thx well if"
)
"""Words after which a speaker's name at the head of a line, with no comma behind it, is an address, not a subject."""
