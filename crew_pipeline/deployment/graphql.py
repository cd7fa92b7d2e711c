"""A Dagster deployment, spoken to through its GraphQL: runs of the day job are launched there and asked after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import httpx

from crew_pipeline.model import Trigger
from crew_pipeline.orchestration import tags
from crew_pipeline.orchestration.tags import DAY_JOB

_UNFINISHED = ("QUEUED", "STARTING", "STARTED", "CANCELING")
_MOST_RUNS = 500

_REPOSITORIES = """
query Repositories {
  found: repositoriesOrError {
    __typename
    ... on RepositoryConnection { nodes { name location { name } jobs { name } } }
    ... on PythonError { message }
  }
}
"""
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  found: launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message }
  }
}
"""
_RUNS = """
query Runs($waiting: RunsFilter!, $named: RunsFilter!, $some: Boolean!, $most: Int!) {
  waiting: runsOrError(filter: $waiting, limit: $most) { ...found }
  named: runsOrError(filter: $named) @include(if: $some) { ...found }
}
fragment found on RunsOrError {
  __typename
  ... on Runs { results { runId status tags { key value } } }
  ... on Error { message }
}
"""
_TERMINATE = """
mutation Terminate($ids: [String!]!) {
  found: terminateRuns(runIds: $ids, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) {
    __typename
    ... on PythonError { message }
  }
}
"""


class DeploymentError(RuntimeError):
    """The deployment refused or was not reached: nothing was done. The message is a sentence with a remedy."""


class UnclearError(DeploymentError):
    """The answer is missing or tells of an error within: the deployment may have done what it was asked, or may yet."""


class RunState(NamedTuple):
    """How a run is.

    Attributes:
        status: as Dagster names it (``QUEUED``, ``STARTED``, ``FAILURE``, …).
        claim: the claim that was made for it before it started; None for runs of others.
    """

    run_id: str
    status: str
    claim: str | None


class Deployment:
    """The deployment behind a GraphQL address."""

    def __init__(self, url: str, *, timeout_s: float = 20) -> None:
        """Args:
        timeout_s: longest wait for the deployment to take a request, or for the next part of its answer (s).
        """
        parsed = httpx.URL(url)
        auth = httpx.BasicAuth(parsed.username, parsed.password) if parsed.userinfo else None
        # Kept out of the address: httpx logs it.
        self._url = parsed.copy_with(userinfo=b"")
        self._client = httpx.Client(auth=auth, timeout=httpx.Timeout(timeout_s, connect=5))
        self._selector: dict[str, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def launch(self, run_config: Mapping[str, Any], run_tags: Mapping[str, str]) -> str:
        """Have a run of the day job queued; its id.

        Raises:
            UnclearError: there may be such a run, or there may be one soon.
            DeploymentError: there is none.
        """
        params = {
            "selector": self._job(),
            "runConfigData": run_config,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in run_tags.items()]},
        }
        answer = self._ask(_LAUNCH, {"params": params})["found"]
        kind = answer.get("__typename")
        if kind == "LaunchRunSuccess":
            return str(answer["run"]["runId"])
        if kind == "PythonError":
            raise UnclearError(f"{self.place} failed to launch a run: {_told(answer)}; its own log says more")
        # Where the job has moved to another code location, it is looked for again.
        self._selector = None
        raise DeploymentError(f"{self.place} did not launch a run ({kind}): {_told(answer)}")

    def runs(self, ids: Sequence[str]) -> list[RunState]:
        """The runs with these ids that are known there, and all unfinished ones that visitors wait for.

        Raises:
            DeploymentError: it did not answer.
        """
        answer = self._ask(
            _RUNS,
            {
                "waiting": {"tags": [{"key": tags.TRIGGER, "value": Trigger.ON_DEMAND.value}], "statuses": _UNFINISHED},
                "named": {"runIds": list(ids)},
                "some": bool(ids),
                "most": _MOST_RUNS,
            },
        )
        states: dict[str, RunState] = {}
        for part in answer.values():
            if part.get("__typename") != "Runs":
                raise UnclearError(f"{self.place} did not tell of its runs: {_told(part)}")
            states.update((run["runId"], _state(run)) for run in part["results"])
        return list(states.values())

    def end(self, ids: Sequence[str]) -> None:
        """Cancel runs whose process is dead, so that they take no place of others.

        Raises:
            DeploymentError: it did not answer.
        """
        if ids and (answer := self._ask(_TERMINATE, {"ids": list(ids)})["found"]).get("__typename") == "PythonError":
            raise UnclearError(f"{self.place} did not end dead runs: {_told(answer)}")

    @property
    def place(self) -> str:
        """Host and port, for messages: an address may hold a password."""
        return f"the Dagster deployment at {self._url.netloc.decode()}"

    def _job(self) -> dict[str, str]:
        """Where the day job is, looked up once."""
        if self._selector is None:
            self._selector = self._find_job()
        return self._selector

    def _find_job(self) -> dict[str, str]:
        try:
            answer = self._ask(_REPOSITORIES, {})["found"]
        except UnclearError as error:
            # This only asked a question, so certainly nothing was done.
            raise DeploymentError(str(error)) from error
        for repository in answer.get("nodes", ()):
            if any(job["name"] == DAY_JOB for job in repository["jobs"]):
                return {
                    "repositoryName": repository["name"],
                    "repositoryLocationName": repository["location"]["name"],
                    "jobName": DAY_JOB,
                }
        raise DeploymentError(
            f"{self.place} has no job {DAY_JOB}: its workspace must load the module crew_pipeline.definitions, "
            "and the UI's page of deployments says whether that went well"
        )

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The data of the answer."""
        try:
            response = self._client.post(self._url, json={"query": query, "variables": variables})
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise DeploymentError(
                f"{self.place} is not reached ({type(error).__name__}): start dagster-webserver, "
                "or correct CREW_DAGSTER_GRAPHQL_URL"
            ) from error
        except httpx.HTTPError as error:
            raise UnclearError(
                f"{self.place} gave no answer ({type(error).__name__}): see whether it is well"
            ) from error
        errors, data = _content(response)
        if not (response.is_success or response.is_server_error):
            said = f", {_told(errors[0])}" if errors else ""
            raise DeploymentError(
                f"{self.place} refuses the request (HTTP {response.status_code}{said}): correct "
                "CREW_DAGSTER_GRAPHQL_URL, with the user and password in it"
            )
        if errors:
            raise UnclearError(f"{self.place} answers with an error: {_told(errors[0])}; its own log says more")
        if not isinstance(data, dict) or not all(isinstance(part, dict) for part in data.values()):
            raise UnclearError(
                f"{self.place} answers with HTTP {response.status_code} and no data: see whether it is well, and "
                "whether CREW_DAGSTER_GRAPHQL_URL ends with /graphql"
            )
        return data


def _content(response: httpx.Response) -> tuple[list[dict[str, Any]], Any]:
    """Errors and data of a GraphQL answer; nothing where it is none."""
    try:
        content = response.json()
        return list(content.get("errors") or ()), content.get("data")
    except (ValueError, AttributeError, TypeError):
        return [], None


def _state(run: Mapping[str, Any]) -> RunState:
    claim = next((tag["value"] for tag in run["tags"] if tag["key"] == tags.CLAIM), None)
    return RunState(run["runId"], run["status"], claim)


def _told(answer: Mapping[str, Any]) -> str:
    """The first line of what an answer says."""
    said = [answer.get("message"), *(error.get("message") for error in answer.get("errors", ()))]
    return next((str(message).strip().splitlines()[0] for message in said if message), "no reason given")
