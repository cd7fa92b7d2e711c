SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE FUNCTION public.claim_lives(expires_at timestamp with time zone, ttl_s integer) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN ((expires_at >= now()) AND (expires_at <= (now() + make_interval(secs => ((2 * ttl_s))::double precision))));

CREATE FUNCTION public.engine_for_client(of_client text, engine text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
SELECT CASE WHEN strpos(engine, ':') = 0 THEN engine ELSE split_part(engine, ':', 1) || ':' || coalesce(
    (SELECT folding FROM clients WHERE client = of_client), split_part(engine, ':', 2)) END
$$;

CREATE FUNCTION public.priority_of_day(day date, today date) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (day >= (today - 1)) THEN 3 WHEN (day > (today - 7)) THEN 2 ELSE 1 END;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.alerts (
    id bigint NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    message text NOT NULL,
    raised_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    resolved_at timestamp with time zone,
    told_raised boolean DEFAULT false NOT NULL,
    told_resolved boolean DEFAULT false NOT NULL
);

ALTER TABLE public.alerts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.alerts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.api_tokens (
    id bigint NOT NULL,
    client text NOT NULL,
    token_hash bytea NOT NULL,
    prefix text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone
);

ALTER TABLE public.api_tokens ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.api_tokens_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.clients (
    client text CONSTRAINT client_settings_client_not_null NOT NULL,
    folding text,
    active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.crew_discovery_blocks (
    crew_id bigint NOT NULL,
    block bigint NOT NULL,
    rows bigint NOT NULL,
    keys_sum numeric NOT NULL
);

CREATE TABLE public.crew_discovery_rounds (
    id bigint NOT NULL,
    crew_id bigint NOT NULL,
    trigger text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seconds double precision NOT NULL,
    rows_read integer NOT NULL,
    sessions_scanned integer NOT NULL,
    sessions_created integer NOT NULL,
    sessions_changed integer NOT NULL,
    sessions_skipped integer NOT NULL,
    sessions_failed integer NOT NULL,
    rows_refused integer NOT NULL,
    finished boolean NOT NULL,
    error text
);

ALTER TABLE public.crew_discovery_rounds ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.crew_discovery_rounds_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.crew_discovery_state (
    crew_id bigint NOT NULL,
    histories_table_name text,
    last_discovered_at timestamp with time zone,
    last_session_count integer DEFAULT 0 NOT NULL,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    watermark jsonb,
    last_round_at timestamp with time zone,
    next_attempt_at timestamp with time zone,
    total_seconds double precision DEFAULT 0 NOT NULL,
    total_rounds bigint DEFAULT 0 NOT NULL,
    total_failures bigint DEFAULT 0 NOT NULL,
    total_scanned bigint DEFAULT 0 NOT NULL,
    total_created bigint DEFAULT 0 NOT NULL,
    total_changed bigint DEFAULT 0 NOT NULL,
    total_skipped bigint DEFAULT 0 NOT NULL,
    total_refused bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.crews (
    id bigint NOT NULL,
    client text NOT NULL,
    code text NOT NULL,
    source_env text,
    history_table text,
    active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    columns jsonb DEFAULT '{}'::jsonb NOT NULL
);

ALTER TABLE public.crews ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.crews_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.data_items (
    id text NOT NULL,
    client text NOT NULL,
    crew_id bigint NOT NULL,
    session_id text NOT NULL,
    title text,
    days_date date NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    line_count integer NOT NULL,
    content_hash bytea NOT NULL,
    semantic_status text DEFAULT 'pending'::text NOT NULL,
    semantic_processed_at timestamp with time zone,
    semantic_error text,
    processing_priority smallint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    first_position bigint DEFAULT 0 NOT NULL,
    times_inferred boolean DEFAULT false NOT NULL,
    from_history boolean DEFAULT false NOT NULL,
    source_deleted_at timestamp with time zone,
    retry_at timestamp with time zone,
    CONSTRAINT semantic_status_known CHECK ((semantic_status = ANY (ARRAY['pending'::text, 'queued'::text, 'processing'::text, 'completed'::text, 'failed'::text])))
);

CREATE TABLE public.day_claims (
    client text NOT NULL,
    day date NOT NULL,
    token text NOT NULL,
    claimed_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    line_count integer DEFAULT 0 NOT NULL,
    content_stamp bytea,
    wishes text,
    ttl_s integer DEFAULT 60 NOT NULL,
    background boolean DEFAULT false NOT NULL,
    wanted_at timestamp with time zone
);

CREATE TABLE public.day_comparisons (
    client text NOT NULL,
    day date NOT NULL,
    judgement text NOT NULL,
    stage text NOT NULL,
    texts bytea[] NOT NULL,
    candidates integer NOT NULL,
    whole boolean NOT NULL
);

CREATE TABLE public.day_documents (
    client text NOT NULL,
    day date NOT NULL,
    version text NOT NULL,
    is_current boolean NOT NULL,
    engine text NOT NULL,
    body bytea NOT NULL,
    conversation_count integer NOT NULL,
    line_count integer NOT NULL,
    hidden_count integer NOT NULL,
    processed_at timestamp with time zone DEFAULT now() NOT NULL,
    token text NOT NULL
);
ALTER TABLE ONLY public.day_documents ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE public.day_events (
    seq bigint NOT NULL,
    client text NOT NULL,
    day date NOT NULL,
    token text,
    type text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.day_events ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.day_events_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.day_visits (
    client text NOT NULL,
    kind text NOT NULL,
    hour timestamp with time zone NOT NULL,
    visits bigint NOT NULL,
    milliseconds double precision NOT NULL
);

CREATE TABLE public.health_samples (
    id bigint NOT NULL,
    taken_at timestamp with time zone DEFAULT now() NOT NULL,
    host text NOT NULL,
    days_waiting integer NOT NULL,
    conversations_waiting integer NOT NULL,
    days_asked integer NOT NULL,
    oldest_day date,
    waiting_since timestamp with time zone,
    days_failed integer NOT NULL,
    workers integer NOT NULL,
    worker_heartbeat_age_s double precision,
    daemon_heartbeat_age_s double precision,
    cpu_percent double precision NOT NULL,
    memory_free_mb integer NOT NULL,
    disk_free_mb integer,
    runs_ended integer NOT NULL,
    runs_failed integer NOT NULL
);

ALTER TABLE public.health_samples ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.health_samples_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.line_cluster_mapping (
    client text NOT NULL,
    day date NOT NULL,
    conversation_id text NOT NULL,
    "position" bigint NOT NULL,
    cluster_id text NOT NULL,
    is_canonical boolean NOT NULL,
    similarity double precision NOT NULL,
    probability double precision CONSTRAINT line_cluster_mapping_score_not_null NOT NULL,
    reason text NOT NULL
);

CREATE TABLE public.line_embeddings (
    model text NOT NULL,
    text_hash bytea NOT NULL,
    vector bytea NOT NULL
);
ALTER TABLE ONLY public.line_embeddings ALTER COLUMN vector SET STORAGE EXTERNAL;

CREATE TABLE public.line_pairs (
    client text NOT NULL,
    day date NOT NULL,
    left_hash bytea NOT NULL,
    right_hash bytea NOT NULL,
    similarity double precision NOT NULL,
    probability double precision NOT NULL,
    probability_same double precision NOT NULL,
    settled boolean NOT NULL,
    reason text NOT NULL
);

CREATE TABLE public.lines (
    conversation_id text NOT NULL,
    "position" bigint NOT NULL,
    speaker text NOT NULL,
    spoken_at timestamp with time zone NOT NULL,
    text text NOT NULL
);

CREATE TABLE public.pair_feedback (
    id bigint NOT NULL,
    client text NOT NULL,
    verdict text NOT NULL,
    left_hash bytea NOT NULL,
    right_hash bytea NOT NULL,
    left_text text NOT NULL,
    right_text text NOT NULL,
    left_speaker text NOT NULL,
    right_speaker text NOT NULL,
    day date NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    undone_at timestamp with time zone
);

ALTER TABLE public.pair_feedback ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.pair_feedback_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.pair_readings (
    reader text NOT NULL,
    left_hash bytea NOT NULL,
    right_hash bytea NOT NULL,
    logit double precision NOT NULL
);

CREATE TABLE public.preliminary_documents (
    client text NOT NULL,
    day date NOT NULL,
    token text NOT NULL,
    body bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE ONLY public.preliminary_documents ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE public.refused_rows (
    crew_id bigint NOT NULL,
    "row" text NOT NULL,
    reason text NOT NULL,
    refused_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.semantic_clusters (
    client text NOT NULL,
    day date NOT NULL,
    id text NOT NULL,
    conversation_id text NOT NULL,
    "position" bigint NOT NULL,
    size integer NOT NULL,
    confidence double precision NOT NULL
);

CREATE TABLE public.withdrawn_lines (
    id bigint NOT NULL,
    crew_id bigint NOT NULL,
    session_id text NOT NULL,
    "position" bigint NOT NULL,
    speaker text NOT NULL,
    spoken_at timestamp with time zone NOT NULL,
    text text NOT NULL,
    reason text NOT NULL,
    withdrawn_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.withdrawn_lines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.withdrawn_lines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.workers (
    id text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT now() NOT NULL,
    resident_mb integer NOT NULL
);

INSERT INTO public.alembic_version VALUES ('0007');

INSERT INTO public.clients VALUES ('default', NULL, true, '2026-11-30 08:39:19.988124+00');

INSERT INTO public.crews OVERRIDING SYSTEM VALUE VALUES (1, 'default', 'desk', NULL, NULL, true, '2026-11-30 08:39:19.988124+00', '{}');

INSERT INTO public.data_items VALUES ('06962052924cda97076d', 'default', 1, 'support-1', NULL, '2025-01-15', '2025-01-15 09:00:00+00', '2025-01-15 09:02:00+00', 3, '\xa1868804daadb918acdd3c8aa68e07ebce27923f4c62f999ee413e4ae5b9738f', 'completed', '2026-11-30 08:39:46.00218+00', NULL, 1, '2026-11-30 08:39:19.988124+00', '2026-11-30 08:39:19.988124+00', 0, false, false, NULL, NULL);
INSERT INTO public.data_items VALUES ('2da16035bb9be1e138c9', 'default', 1, 'support-2', NULL, '2025-01-15', '2025-01-15 11:00:00+00', '2025-01-15 11:00:00+00', 1, '\x663236628c7b607ed3364032f8e24f4314bd2461eb933bad3606a9efd734d80c', 'completed', '2026-11-30 08:39:46.00218+00', NULL, 1, '2026-11-30 08:39:19.988124+00', '2026-11-30 08:39:19.988124+00', 0, false, false, NULL, NULL);
INSERT INTO public.data_items VALUES ('fd85b1f91bff43672598', 'default', 1, 'general', NULL, '2025-03-03', '2025-03-03 09:00:00+00', '2025-06-11 09:00:00+00', 5, '\x911e28c1214d6715a61fcf358c2975f066857c486ebcbfc0bfc20532c1fd1c1e', 'completed', '2026-11-30 08:39:47.378559+00', NULL, 1, '2026-11-30 08:39:19.988124+00', '2026-11-30 08:39:19.988124+00', 0, false, false, NULL, NULL);

INSERT INTO public.day_claims VALUES ('default', '2025-01-15', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89', '2026-11-30 08:39:31.229985+00', '2026-11-30 08:40:31.229985+00', '2026-11-30 08:39:46.00218+00', 'completed', 4, '\xe418b48229bfe5c144e02241ec692cad722c9ecf5fbe72e470a13440e9907c2e', '0 0 ', 60, true, NULL);
INSERT INTO public.day_claims VALUES ('default', '2025-03-03', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc', '2026-11-30 08:39:46.826466+00', '2026-11-30 08:40:46.826466+00', '2026-11-30 08:39:47.378559+00', 'completed', 5, '\x69e06692cc666b7b62023fa06eceb39ec651c9cfcc279650548b05eac3c8d587', '0 0 ', 60, true, NULL);

INSERT INTO public.day_comparisons VALUES ('default', '2025-01-15', '7e0cc4140c567949', 'reading', '{"\\x614606ab07d031527ba35257c38e3521","\\xcf970186dea018183a397bd3ca8c4d5e","\\xea80d03a24c5dd538e3dbeb54929c856"}', 0, true);
INSERT INTO public.day_comparisons VALUES ('default', '2025-03-03', '7e0cc4140c567949', 'reading', '{"\\x34922be3cb55012bae055a29d77c3e03","\\x670c3c185627eb740e20b085bb030bc5","\\xc4bd0d89c0c99bec4d8e90871d016f9a","\\xda0717a0abf411edf09162a668bc9761","\\xf2abf16c08489b1578c8e24c9971a2ef"}', 3, true);

INSERT INTO public.day_documents VALUES ('default', '2025-01-15', '7a31670d6da1499870731963c8032dfa', true, '3f0a18b2b5abfb21:balanced', '\x5b7b226964223a223036393632303532393234636461393730373664222c2273657373696f6e5f6964223a22737570706f72742d31222c22636c69656e74223a2264656661756c74222c2263726577223a226465736b222c227469746c65223a6e756c6c2c22737461727465645f6174223a22323032352d30312d31355430393a30303a30305a222c22656e6465645f6174223a22323032352d30312d31355430393a30323a30305a222c226c696e655f636f756e74223a332c2268696464656e5f636f756e74223a312c22646973706c61795f636f6e766572736174696f6e223a5b7b226c696e655f6964223a2230363936323035323932346364613937303736642d30222c22737065616b6572223a224d617261222c2273706f6b656e5f6174223a22323032352d30312d31355430393a30303a30305a222c2274657874223a2254686520696e766f696365206578706f72742074696d6573206f757420616761696e2e222c2269735f756e69717565223a66616c73652c2269735f64656475706c696361746564223a747275652c22726570726573656e74735f636c7573746572223a2230333235303662333933343665386134222c2263616e6f6e6963616c5f636f6e666964656e6365223a312e302c2268696464656e5f766172696174696f6e73223a5b7b226c696e655f6964223a2230363936323035323932346364613937303736642d32222c22636f6e766572736174696f6e5f6964223a223036393632303532393234636461393730373664222c22737065616b6572223a224d617261222c2273706f6b656e5f6174223a22323032352d30312d31355430393a30323a30305a222c2274657874223a2254686520696e766f696365206578706f72742074696d6573206f757420616761696e2e222c2273696d696c6172697479223a312e302c2270726f626162696c697479223a312e302c22726561736f6e223a2273616d6520776f726473227d5d7d2c7b226c696e655f6964223a2230363936323035323932346364613937303736642d31222c22737065616b6572223a22546f6d222c2273706f6b656e5f6174223a22323032352d30312d31355430393a30313a30305a222c2274657874223a224e6f626f647920616e7377657273207468652070686f6e652074686973206d6f726e696e672e222c2269735f756e69717565223a747275652c2269735f64656475706c696361746564223a66616c73652c22726570726573656e74735f636c7573746572223a6e756c6c2c2263616e6f6e6963616c5f636f6e666964656e6365223a6e756c6c2c2268696464656e5f766172696174696f6e73223a5b5d7d5d7d2c7b226964223a223264613136303335626239626531653133386339222c2273657373696f6e5f6964223a22737570706f72742d32222c22636c69656e74223a2264656661756c74222c2263726577223a226465736b222c227469746c65223a6e756c6c2c22737461727465645f6174223a22323032352d30312d31355431313a30303a30305a222c22656e6465645f6174223a22323032352d30312d31355431313a30303a30305a222c226c696e655f636f756e74223a312c2268696464656e5f636f756e74223a302c22646973706c61795f636f6e766572736174696f6e223a5b7b226c696e655f6964223a2232646131363033356262396265316531333863392d30222c22737065616b6572223a224d617261222c2273706f6b656e5f6174223a22323032352d30312d31355431313a30303a30305a222c2274657874223a22546865206f6666696365207072696e746572206973206f6e20666972652e222c2269735f756e69717565223a747275652c2269735f64656475706c696361746564223a66616c73652c22726570726573656e74735f636c7573746572223a6e756c6c2c2263616e6f6e6963616c5f636f6e666964656e6365223a6e756c6c2c2268696464656e5f766172696174696f6e73223a5b5d7d5d7d5d', 2, 4, 1, '2026-11-30 08:39:46.00218+00', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89');
INSERT INTO public.day_documents VALUES ('default', '2025-03-03', 'b3c8e7c7c36f1af3574e94acd35281aa', true, '3f0a18b2b5abfb21:balanced', '\x5b7b226964223a226664383562316639316266663433363732353938222c2273657373696f6e5f6964223a2267656e6572616c222c22636c69656e74223a2264656661756c74222c2263726577223a226465736b222c227469746c65223a6e756c6c2c22737461727465645f6174223a22323032352d30332d30335430393a30303a30305a222c22656e6465645f6174223a22323032352d30362d31315430393a30303a30305a222c226c696e655f636f756e74223a352c2268696464656e5f636f756e74223a302c22646973706c61795f636f6e766572736174696f6e223a5b7b226c696e655f6964223a2266643835623166393162666634333637323539382d30222c22737065616b6572223a22416e6e222c2273706f6b656e5f6174223a22323032352d30332d30335430393a30303a30305a222c2274657874223a2254686520776f726473206f66204d6f6e64617920696e20746865206368616e6e656c2e222c2269735f756e69717565223a747275652c2269735f64656475706c696361746564223a66616c73652c22726570726573656e74735f636c7573746572223a6e756c6c2c2263616e6f6e6963616c5f636f6e666964656e6365223a6e756c6c2c2268696464656e5f766172696174696f6e73223a5b5d7d2c7b226c696e655f6964223a2266643835623166393162666634333637323539382d31222c22737065616b6572223a22426f222c2273706f6b656e5f6174223a22323032352d30332d30335432333a35303a30305a222c2274657874223a22412074616c6b207468617420676f6573206f766572206d69646e696768742e222c2269735f756e69717565223a747275652c2269735f64656475706c696361746564223a66616c73652c22726570726573656e74735f636c7573746572223a6e756c6c2c2263616e6f6e6963616c5f636f6e666964656e6365223a6e756c6c2c2268696464656e5f766172696174696f6e73223a5b5d7d2c7b226c696e655f6964223a2266643835623166393162666634333637323539382d32222c22737065616b6572223a22416e6e222c2273706f6b656e5f6174223a22323032352d30332d30345430303a31303a30305a222c2274657874223a22416e64206973206f76657220736f6f6e2061667465722069742e222c2269735f756e69717565223a747275652c2269735f64656475706c696361746564223a66616c73652c22726570726573656e74735f636c7573746572223a6e756c6c2c2263616e6f6e6963616c5f636f6e666964656e6365223a6e756c6c2c2268696464656e5f766172696174696f6e73223a5b5d7d2c7b226c696e655f6964223a2266643835623166393162666634333637323539382d33222c22737065616b6572223a22416e6e222c2273706f6b656e5f6174223a22323032352d30332d30345430393a30303a30305a222c2274657874223a2254686520776f726473206f66205475657364617920696e20746865206368616e6e656c2e222c2269735f756e69717565223a747275652c2269735f64656475706c696361746564223a66616c73652c22726570726573656e74735f636c7573746572223a6e756c6c2c2263616e6f6e6963616c5f636f6e666964656e6365223a6e756c6c2c2268696464656e5f766172696174696f6e73223a5b5d7d2c7b226c696e655f6964223a2266643835623166393162666634333637323539382d34222c22737065616b6572223a22416e6e222c2273706f6b656e5f6174223a22323032352d30362d31315430393a30303a30305a222c2274657874223a2254686520776f726473206f66205765646e657364617920696e20746865206368616e6e656c2e222c2269735f756e69717565223a747275652c2269735f64656475706c696361746564223a66616c73652c22726570726573656e74735f636c7573746572223a6e756c6c2c2263616e6f6e6963616c5f636f6e666964656e6365223a6e756c6c2c2268696464656e5f766172696174696f6e73223a5b5d7d5d7d5d', 1, 5, 0, '2026-11-30 08:39:47.378559+00', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc');

INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (1, 'default', '2025-01-15', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89', 'processing_started', '{"estimated_time_s": 0.5}', '2026-11-30 08:39:31.229985+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (2, 'default', '2025-01-15', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89', 'processing_progress', '{"stage": "discovering", "message": "reading 4 lines", "progress": 0.0, "estimated_remaining_s": 0.5}', '2026-11-30 08:39:31.229985+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (3, 'default', '2025-01-15', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89', 'processing_progress', '{"stage": "embedding", "message": "0 of 3 lines embedded", "progress": 0.02, "estimated_remaining_s": 0.5}', '2026-11-30 08:39:31.387164+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (4, 'default', '2025-01-15', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89', 'processing_progress', '{"stage": "comparing", "message": "comparing 4 lines", "progress": 0.7, "estimated_remaining_s": 4.2}', '2026-11-30 08:39:45.207878+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (5, 'default', '2025-01-15', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89', 'processing_progress', '{"stage": "clustering", "message": "folding what 0 pairs tell", "progress": 0.93, "estimated_remaining_s": 1.0}', '2026-11-30 08:39:45.797662+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (6, 'default', '2025-01-15', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89', 'processing_progress', '{"stage": "writing", "message": "writing the day", "progress": 0.97, "estimated_remaining_s": 0.4}', '2026-11-30 08:39:45.987987+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (7, 'default', '2025-01-15', 'bf8b5771-a51f-4f9f-9b7d-c6a5a01f5b89', 'processing_completed', '{"version": "7a31670d6da1499870731963c8032dfa", "conversations": 2}', '2026-11-30 08:39:46.00218+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (8, 'default', '2025-03-03', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc', 'processing_started', '{"estimated_time_s": 18.5}', '2026-11-30 08:39:46.826466+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (9, 'default', '2025-03-03', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc', 'processing_progress', '{"stage": "discovering", "message": "reading 5 lines", "progress": 0.0, "estimated_remaining_s": 18.5}', '2026-11-30 08:39:46.826466+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (10, 'default', '2025-03-03', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc', 'processing_progress', '{"stage": "embedding", "message": "0 of 5 lines embedded", "progress": 0.02, "estimated_remaining_s": 18.1}', '2026-11-30 08:39:46.921536+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (11, 'default', '2025-03-03', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc', 'processing_progress', '{"stage": "comparing", "message": "comparing 5 lines", "progress": 0.7, "estimated_remaining_s": 5.5}', '2026-11-30 08:39:47.072934+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (12, 'default', '2025-03-03', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc', 'processing_progress', '{"stage": "clustering", "message": "folding what 3 pairs tell", "progress": 0.93, "estimated_remaining_s": 1.3}', '2026-11-30 08:39:47.159168+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (13, 'default', '2025-03-03', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc', 'processing_progress', '{"stage": "writing", "message": "writing the day", "progress": 0.97, "estimated_remaining_s": 0.6}', '2026-11-30 08:39:47.360102+00');
INSERT INTO public.day_events OVERRIDING SYSTEM VALUE VALUES (14, 'default', '2025-03-03', 'ad49c856-5b06-4b38-95b9-82d7e55d73cc', 'processing_completed', '{"version": "b3c8e7c7c36f1af3574e94acd35281aa", "conversations": 1}', '2026-11-30 08:39:47.378559+00');

INSERT INTO public.line_cluster_mapping VALUES ('default', '2025-01-15', '06962052924cda97076d', 0, '032506b39346e8a4', true, 1, 1, 'canonical line');
INSERT INTO public.line_cluster_mapping VALUES ('default', '2025-01-15', '06962052924cda97076d', 2, '032506b39346e8a4', false, 1, 1, 'same words');

INSERT INTO public.line_embeddings VALUES ('all-MiniLM-L6-v2@a683a6d1843b', '\x614606ab07d031527ba35257c38e3521', '\x8983d73cef21af3d85d60f3d4a9e093d64a576bcbedc41bd49cc73bd0d3bca3cd086a23d18a82fbdf202a3bd72fe2cbc957456bc186348bd15954abd82d96c3dff22aabcb4f137be1d328ebdf3e4d03ce3358ebd3d19bbba923e433d9347803b3463903d609fdebce099eebbc9e95ebcdabb2cb9d18654bdccd7443b68a0dc3d9cde853d1995103dbcfe983de17732bcb5288d3d81d18c3c6e5f42bdf0c31d3d54afbe3c4feabc3c64f484bdb937343d13dd9f3d0fde37bc1dcb13bc86f19abdf69a843db0231cbda379593d147e613c6c9a46bdd8a9453daf602abdd83d8f3db6581cbdea1ca73dedacb93d8aadc13ddcc19abc8cae663de0d743bd54a0723dda44313da90c943c889472bd04a228bd6d7d9f3cf468c43cfe60d4bbd6090a3d7cca8c3da7ac46bcbafc03bd11a44a3bd82f173d079ab93b6e42bb3df533843d720431bd7c9db2bd97870fbd2c104e3ddfb60a3db735703d94e1bbbbd4c0863df97081bcb1e36fbc00cca1bd0a07d13caff9c0bcdf1150bd541daebd95c1793d1b58bfbcf2a7d03bc1330ebed7afe33d412bdd3bb3a46c3d2efb003cedf2993dbe48703c2f67d13d02fe77bb8a03633dc5d828bd651338bc379934bc1980b2bd39ded63c9433b23ce9c5cfbd9ca46fbd5dd9aebb0d36a13d27e1bfbc570d593bdb5c0cbdce700dbd9a74c0bcf2d8963a796ca2bdbd43373dbd2845ba8d01d089d032943d3fe2a03b4d1bd93ddcfa1a3b74e793bcd2044abdc7dc6e3d02c532bcf836023e76fc213c53cdec3c02193dbd28e8aa3cc3cdc7bdf5b8063df79ca53d9bbe21bcc97a823d0deca73cf1ff6fbbbcac803d88c90e3d2cfb47bcb597893df6b6583d3d15f7bc9e1d843d6a41cabd531fba3c9b3bee3a5c31c4bd73ea28bc4bad723db30e5d3d9c40323d81221f3dee6d8f3bba6efdbcd4e296bd456020bd88163a3c5afd003cb8b7ccbc1ea168bd8e884abdd26e07bdd680873b0751a43c82dd443d058b6c3c6d9dab3cf6524e3d4d061cbd0b09a43c3cfbfbbb130606bd26d57e3cd63046bdd2c82cbd4cfecc3c39a0193d8d63b6bcc3c483bd63a6e6bb04d592bcb6e915bbd01572bd463597bd3c38903a4feb283c79e6933ddd927d3c16aee83c757ea73c9fe80a3d7c10893d386c4c3c56c95dbccd2a7ebc60742f3c46ec093e98af88bcd64c803dc9f033bda558873d1134a5bb1f79543d4b4e393d0aed293ccc06403c2fab8bbd9024bdbcb44f46bdb14e4b3c88538dbc2372b009bf4125bc8e4406bd59d384bd7e8bbabbb298b7bded47863cb7f77a3dc511ec3dac95a23b03b6d03c7795d03d6811793c6b448e3db18a5a3cbd1a963d1468023bb5d9723d884f803c210983bd4ed0253daf73e1bd1defd43d7335bbbd8226c33d56d596bd01edf7bc08a38c3d3d0e4e3dedcd35bc5129a7bd97361fbc9bd1a8bc4ebb66bdbc4333bc097902bcf6099f3d5476173def1a413d2c07ea3c13a5563a79bd053da96c813cd2fb79bd8c65343a0c1779bd352e393a9d14f7bc71a776bc9d86c5bcc6aebe3c46efe3bb3586c1bb51a9c23c82b8443d81c2093d083a0e3df7aa243dba3658bdde63b73c1c4d8ebd60d0ad3d2895d63c88957abdd4606d3cee8d6c3d2608c23def0905bd649c9dbc6d8a423dbaa759bd8dba6f3de5ee5cbd13418e3c0764b0bdb0c4123d43d5033e3c42bcbd0b35c9bc79010ebdbf678abdfaaf3b3df25e5e3d2726a3bc9794be3b27e6a83c25e7d93c2a37113e0f4070bd06df96bc3c3a5abce1b38fbc320981bc51fca6bd41f52c3d4a3a80ba515e9ab237951a3dab759c3d4537d43cb1413cbd13837fbae58633bb7f868a3cfeb90ebda4b1663dbf893d3b1afbc2bcb5fc1e3cc8cd11bee19b30bd3228543d7efd0f3d6ad32d3df902f6bc8d105bbdd4d310bd658255bd12d4143d9a8c6cbdfa938aba7e3f833d152501bd60be67bd5fc4fdbb1454ae3dbbcc6e3c8284f03c46cfa8b930bc84bd6a0b0fbd2c30f0bdfd5912bd5412923daea7d2bc21acd6bb0ffea4bdcf7438bd6dd93f3cf8e5783bf6b916bdc0d0b8bb409edcbbc252be3c9bd1a8bd90d029bc6a5d4cbce360b7bd5a9649bd2a0de23aad8529bd0d988a3c1acb5ebd9e89fd3caa0166bcbc2d433c9fa23cbc577f0d3da9fa6abd386220bdd719953c');

INSERT INTO public.lines VALUES ('fd85b1f91bff43672598', 4, 'Ann', '2025-06-11 09:00:00+00', 'The words of Wednesday in the channel.');
INSERT INTO public.lines VALUES ('fd85b1f91bff43672598', 3, 'Ann', '2025-03-04 09:00:00+00', 'The words of Tuesday in the channel.');
INSERT INTO public.lines VALUES ('fd85b1f91bff43672598', 2, 'Ann', '2025-03-04 00:10:00+00', 'And is over soon after it.');
INSERT INTO public.lines VALUES ('fd85b1f91bff43672598', 1, 'Bo', '2025-03-03 23:50:00+00', 'A talk that goes over midnight.');
INSERT INTO public.lines VALUES ('fd85b1f91bff43672598', 0, 'Ann', '2025-03-03 09:00:00+00', 'The words of Monday in the channel.');
INSERT INTO public.lines VALUES ('2da16035bb9be1e138c9', 0, 'Mara', '2025-01-15 11:00:00+00', 'The office printer is on fire.');
INSERT INTO public.lines VALUES ('06962052924cda97076d', 2, 'Mara', '2025-01-15 09:02:00+00', 'The invoice export times out again.');
INSERT INTO public.lines VALUES ('06962052924cda97076d', 1, 'Tom', '2025-01-15 09:01:00+00', 'Nobody answers the phone this morning.');
INSERT INTO public.lines VALUES ('06962052924cda97076d', 0, 'Mara', '2025-01-15 09:00:00+00', 'The invoice export times out again.');

INSERT INTO public.semantic_clusters VALUES ('default', '2025-01-15', '032506b39346e8a4', '06962052924cda97076d', 0, 2, 1);

SELECT pg_catalog.setval('public.alerts_id_seq', 1, false);

SELECT pg_catalog.setval('public.api_tokens_id_seq', 1, false);

SELECT pg_catalog.setval('public.crew_discovery_rounds_id_seq', 1, false);

SELECT pg_catalog.setval('public.crews_id_seq', 1, true);

SELECT pg_catalog.setval('public.day_events_seq_seq', 14, true);

SELECT pg_catalog.setval('public.health_samples_id_seq', 1, false);

SELECT pg_catalog.setval('public.pair_feedback_id_seq', 1, false);

SELECT pg_catalog.setval('public.withdrawn_lines_id_seq', 1, false);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY public.clients
    ADD CONSTRAINT client_settings_pkey PRIMARY KEY (client);

ALTER TABLE ONLY public.crew_discovery_blocks
    ADD CONSTRAINT crew_discovery_blocks_pkey PRIMARY KEY (crew_id, block);

ALTER TABLE ONLY public.crew_discovery_rounds
    ADD CONSTRAINT crew_discovery_rounds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.crew_discovery_state
    ADD CONSTRAINT crew_discovery_state_pkey PRIMARY KEY (crew_id);

ALTER TABLE ONLY public.crews
    ADD CONSTRAINT crews_client_code_key UNIQUE (client, code);

ALTER TABLE ONLY public.crews
    ADD CONSTRAINT crews_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.data_items
    ADD CONSTRAINT data_items_crew_id_session_id_key UNIQUE (crew_id, session_id);

ALTER TABLE ONLY public.data_items
    ADD CONSTRAINT data_items_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.day_claims
    ADD CONSTRAINT day_claims_pkey PRIMARY KEY (client, day, token);

ALTER TABLE ONLY public.day_comparisons
    ADD CONSTRAINT day_comparisons_pkey PRIMARY KEY (client, day);

ALTER TABLE ONLY public.day_documents
    ADD CONSTRAINT day_documents_pkey PRIMARY KEY (client, day, version);

ALTER TABLE ONLY public.day_events
    ADD CONSTRAINT day_events_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY public.day_visits
    ADD CONSTRAINT day_visits_pkey PRIMARY KEY (client, kind, hour);

ALTER TABLE ONLY public.health_samples
    ADD CONSTRAINT health_samples_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.line_cluster_mapping
    ADD CONSTRAINT line_cluster_mapping_pkey PRIMARY KEY (client, day, conversation_id, "position");

ALTER TABLE ONLY public.line_embeddings
    ADD CONSTRAINT line_embeddings_pkey PRIMARY KEY (model, text_hash);

ALTER TABLE ONLY public.line_pairs
    ADD CONSTRAINT line_pairs_pkey PRIMARY KEY (client, day, left_hash, right_hash);

ALTER TABLE ONLY public.lines
    ADD CONSTRAINT lines_pkey PRIMARY KEY (conversation_id, "position");

ALTER TABLE ONLY public.pair_feedback
    ADD CONSTRAINT pair_feedback_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pair_readings
    ADD CONSTRAINT pair_readings_pkey PRIMARY KEY (reader, left_hash, right_hash);

ALTER TABLE ONLY public.preliminary_documents
    ADD CONSTRAINT preliminary_documents_pkey PRIMARY KEY (client, day);

ALTER TABLE ONLY public.refused_rows
    ADD CONSTRAINT refused_rows_pkey PRIMARY KEY (crew_id, "row");

ALTER TABLE ONLY public.semantic_clusters
    ADD CONSTRAINT semantic_clusters_pkey PRIMARY KEY (client, day, id);

ALTER TABLE ONLY public.withdrawn_lines
    ADD CONSTRAINT withdrawn_lines_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE UNIQUE INDEX alerts_open ON public.alerts USING btree (kind, subject) WHERE (resolved_at IS NULL);

CREATE INDEX crew_discovery_rounds_crew ON public.crew_discovery_rounds USING btree (crew_id, id);

CREATE INDEX data_items_crew ON public.data_items USING btree (crew_id, days_date, started_at, id);

CREATE INDEX data_items_day ON public.data_items USING btree (client, days_date, started_at, id);

CREATE INDEX data_items_first_position ON public.data_items USING btree (crew_id, first_position);

CREATE INDEX data_items_queue ON public.data_items USING btree (semantic_status, processing_priority DESC, days_date, created_at DESC);

CREATE INDEX data_items_recently_processed ON public.data_items USING btree (semantic_processed_at DESC);

CREATE INDEX data_items_status_by_day ON public.data_items USING btree (semantic_status, days_date);

CREATE INDEX data_items_unfinished ON public.data_items USING btree (client, days_date) WHERE (semantic_status <> 'completed'::text);

CREATE INDEX day_claims_ended ON public.day_claims USING btree (ended_at DESC);

CREATE UNIQUE INDEX day_claims_open ON public.day_claims USING btree (client, day) WHERE (ended_at IS NULL);

CREATE INDEX day_claims_token ON public.day_claims USING btree (token);

CREATE UNIQUE INDEX day_documents_current ON public.day_documents USING btree (client, day) WHERE is_current;

CREATE INDEX day_events_day ON public.day_events USING btree (client, day, seq);

CREATE INDEX day_visits_hour ON public.day_visits USING btree (hour);

CREATE INDEX health_samples_taken ON public.health_samples USING btree (taken_at DESC);

CREATE INDEX line_cluster_mapping_cluster ON public.line_cluster_mapping USING btree (client, day, cluster_id);

CREATE INDEX pair_feedback_client ON public.pair_feedback USING btree (client, id);

CREATE INDEX withdrawn_lines_session ON public.withdrawn_lines USING btree (crew_id, session_id);

ALTER TABLE ONLY public.crew_discovery_blocks
    ADD CONSTRAINT crew_discovery_blocks_crew_id_fkey FOREIGN KEY (crew_id) REFERENCES public.crews(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.crew_discovery_rounds
    ADD CONSTRAINT crew_discovery_rounds_crew_id_fkey FOREIGN KEY (crew_id) REFERENCES public.crews(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.crew_discovery_state
    ADD CONSTRAINT crew_discovery_state_crew_id_fkey FOREIGN KEY (crew_id) REFERENCES public.crews(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.crews
    ADD CONSTRAINT crews_client_fkey FOREIGN KEY (client) REFERENCES public.clients(client);

ALTER TABLE ONLY public.data_items
    ADD CONSTRAINT data_items_crew_id_fkey FOREIGN KEY (crew_id) REFERENCES public.crews(id);

ALTER TABLE ONLY public.line_cluster_mapping
    ADD CONSTRAINT line_cluster_mapping_client_day_cluster_id_fkey FOREIGN KEY (client, day, cluster_id) REFERENCES public.semantic_clusters(client, day, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.line_pairs
    ADD CONSTRAINT line_pairs_client_day_fkey FOREIGN KEY (client, day) REFERENCES public.day_comparisons(client, day) ON DELETE CASCADE;

ALTER TABLE ONLY public.lines
    ADD CONSTRAINT lines_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES public.data_items(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.refused_rows
    ADD CONSTRAINT refused_rows_crew_id_fkey FOREIGN KEY (crew_id) REFERENCES public.crews(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.withdrawn_lines
    ADD CONSTRAINT withdrawn_lines_crew_id_fkey FOREIGN KEY (crew_id) REFERENCES public.crews(id) ON DELETE CASCADE;
