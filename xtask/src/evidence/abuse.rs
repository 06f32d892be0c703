//! What somebody could try, each by the test that tries it on running processes.

use super::steps::Probe;

const PROXY: &str = "cellwall-proxy";
const CONTROL: &str = "cellwall-control-plane";
const MAIN: &str = "main";

/// What is tried, and the test.
pub(super) const CASES: &[(&str, Probe)] = &[
    (
        "a leaf's key is stolen: it works until its end",
        (PROXY, MAIN, "authority::a_peers_certificate_ends_its_connections"),
    ),
    (
        "an authority is withdrawn: what it signed goes with it",
        (PROXY, MAIN, "authority::a_trust_domain_that_is_removed_takes_its_connections_along"),
    ),
    (
        "a compromised workload asks for what is not its own",
        (PROXY, MAIN, "denials::a_verdict_holds_for_method_path_and_identity_and_nothing_near_it"),
    ),
    (
        "it asks the Workload API for another identity",
        (CONTROL, MAIN, "workload_api::a_process_without_an_entry_is_denied"),
    ),
    (
        "hostile certificates",
        (PROXY, MAIN, "corpus::no_hostile_certificate_reaches_a_workload_or_gets_a_call"),
    ),
    (
        "our identity header, spelled by the caller",
        (
            PROXY,
            MAIN,
            "spoofs::no_spelling_of_our_header_gives_the_workload_another_caller_over_http_1",
        ),
    ),
    (
        "framing in doubt",
        (PROXY, MAIN, "denials::framing_in_doubt_is_refused_and_the_connection_closed"),
    ),
    (
        "paths with two readings",
        (PROXY, MAIN, "denials::a_request_with_two_readings_is_answered_before_policy"),
    ),
    (
        "another protocol than declared",
        (PROXY, MAIN, "tcp::an_http_client_does_not_get_past_a_tcp_listener"),
    ),
    (
        "a workload that switches protocols unasked",
        (PROXY, MAIN, "forwarding::a_workload_that_switches_protocols_unasked_has_failed"),
    ),
    ("an old policy, signed and sent again", (PROXY, MAIN, "policy::an_older_version_is_refused")),
    (
        "labels and lines made by a caller",
        (PROXY, MAIN, "denials::labels_come_from_the_policy_and_never_from_a_caller"),
    ),
    (
        "the policy changes between accept and request",
        (PROXY, MAIN, "denials::policy_is_asked_anew_for_each_request_of_a_connection"),
    ),
    ("a session is resumed", ("cellwall-mtls", MAIN, "session::a_session_is_never_resumed")),
    ("an older TLS", ("cellwall-mtls", MAIN, "session::tls_1_2_is_refused")),
    (
        "an address that belongs to another service now",
        (PROXY, MAIN, "calls::an_address_where_somebody_else_answers_gets_no_byte"),
    ),
    (
        "keys in memory, logs, arguments and files",
        (PROXY, MAIN, "secrets::no_key_shows_in_logs_files_arguments_or_answers"),
    ),
    (
        "a row of the database is edited",
        (CONTROL, MAIN, "durability::a_policy_that_was_edited_in_the_database_is_not_put_in_force"),
    ),
    (
        "the audit log is edited",
        (CONTROL, MAIN, "durability::a_log_that_was_edited_is_not_continued"),
    ),
];
