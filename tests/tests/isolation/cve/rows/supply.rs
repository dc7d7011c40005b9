//! What comes from elsewhere: words of users and images, images themselves, and the network. And what is not rkt's.

use super::{Row, row};

pub(in crate::cve) const WORDS: &[Row] = &[
    row(
        "CVE-2016-7569, CVE-2024-3727, CVE-2026-33747",
        "an id or a digest of an image is used as a path",
        "ids and digests are parsed before anything else; only hexadecimal of full length is one",
        &[
            "model::digest::tests::only_known_algorithms_in_lower_case_and_full_length",
            "model::id::tests::image_ids",
            "isolation::cve::words::names_and_identifiers_are_no_paths",
        ],
    ),
    row(
        "(no id)",
        "a container's id with `..` or a slash becomes a path or a cgroup",
        "pods are UUIDs, apps are AC names; records of cgroups are checked",
        &[
            "isolation::cve::words::names_and_identifiers_are_no_paths",
            "model::id::tests::uuids",
            "cgroup::plan_tests::a_hostile_record_opens_nothing",
        ],
    ),
    row(
        "CVE-2016-8579",
        "dependencies in a circle",
        "found and named",
        &[
            "store::tests::rendering::a_missing_dependency_and_a_cycle_are_told",
            "images::discovery::dependencies_come_along_and_are_checked",
        ],
    ),
    row(
        "(docker2aci)",
        "digests were never verified",
        "hashed as they come; the last read fails",
        &[
            "images::registry::a_damaged_blob_is_refused_and_leaves_nothing",
            "images::hostile::bodies_that_lie",
        ],
    ),
    row(
        "CVE-2022-4318, CVE-2026-15809",
        "a line end in HOME adds a user",
        "no file of the image is written with a value of the environment",
        &["isolation::cve::words::line_ends_in_the_environment_reach_no_file"],
    ),
    row(
        "(same class)",
        "a line end in a host name or a name server adds a line to the pod's files",
        "names are checked; one entry is one line",
        &[
            "isolation::cve::words::host_names_and_hosts_are_one_line",
            "network::dns::what_a_network_says_cannot_write_other_lines",
        ],
    ),
    row(
        "CVE-2024-3154, CVE-2026-53488, CVE-2026-53492, CVE-2024-8676",
        "an annotation or a label of an image becomes an order to the runtime",
        "what is asked for comes from the command line; labels configure nothing",
        &[
            "isolation::cve::words::annotations_and_labels_of_an_image_do_nothing",
            "model::oci::convert::tests::labels_of_an_image_configure_nothing",
        ],
    ),
    row(
        "CVE-2022-0811, CVE-2022-0532",
        "a sysctl's value carries another one, or one reaches the host's namespace",
        "a list of names by namespace, values of one line, one file each; none without the namespace",
        &[
            "isolation::cve::words::settings_are_the_pods_own_and_one_each",
            "model::isolator::sysctl::tests::names_and_values_of_one_shape",
            "stage1::plan::sysctl::tests::what_would_change_the_host_is_refused",
        ],
    ),
    row(
        "CVE-2021-43784, CVE-2024-9407",
        "a string longer than its length field, or a word that carries further options",
        "netlink attributes are bounded where they are written; options of flags are a closed list",
        &[
            "isolation::cve::words::words_of_many_kilobytes_are_refused_or_work",
            "net::netlink::message::tests::an_attribute_beyond_its_length_is_refused",
            "model::hostile::mangled_words_never_panic",
        ],
    ),
    row(
        "GHSA-7236-3392-c5c6, CVE-2024-23653",
        "a part of the image's description switches confinement off",
        "what an image asks may narrow; what widens comes from the user",
        &[
            "isolation::cve::words::annotations_and_labels_of_an_image_do_nothing",
            "root::confine::insecure_options_are_the_only_way_out",
        ],
    ),
    row(
        "CVE-2021-21285, CVE-2024-23650",
        "an image that cannot be parsed ends the daemon",
        "parsers return errors, and are fuzzed",
        &[
            "model::oci::document::tests::a_manifest_cut_or_changed_anywhere_never_panics",
            "blackbox::broken_manifests",
            "fuzz_replay::",
        ],
    ),
];

pub(in crate::cve) const IMAGES: &[Row] = &[
    row(
        "CVE-2020-15157",
        "a login goes to the host that a layer's URL names",
        "a login is for the host and repository it was given for; foreign URLs get none",
        &[
            "images::hostile::redirects_take_no_login_along",
            "fetch::registry::foreign::tests::addresses_that_are_not_for_images",
            "fetch::registry::token::tests::a_token_serves_for_its_own_scope_and_login_alone",
        ],
    ),
    row(
        "CVE-2021-41190",
        "one document is read as a manifest and as an index",
        "a document that reads as two is refused",
        &[
            "model::oci::document::tests::a_document_that_reads_as_two_is_refused",
            "images::hostile::manifests_that_contradict_themselves",
        ],
    ),
    row(
        "CVE-2024-24557",
        "a cache is asked for what only looks the same",
        "layers are known by their content, images by the hash of all of it",
        &[
            "store::tests::layers::the_same_content_is_one_layer_in_any_compression_and_image",
            "images::trust::what_a_site_serves_is_what_was_asked_for",
        ],
    ),
    row(
        "CVE-2021-20291",
        "a layer that cannot be unpacked blocks all later pulls",
        "no lock is held over the network; a failed import is gone",
        &[
            "images::hostile::bodies_that_lie",
            "store::tests::importing::a_failed_import_leaves_nothing",
        ],
    ),
    row(
        "CVE-2026-50195",
        "an import overwrites a name that exists",
        "the name is the image's own; a signature or digest vouches for it",
        &[
            "images::trust::what_a_site_serves_is_what_was_asked_for",
            "fetch::appc::tests::what_was_found_has_to_be_what_was_asked_for",
        ],
    ),
    row(
        "(bombs)",
        "an archive inflates without end",
        "bounds on ratio, size, entries and names",
        &[
            "images::hostile::a_gzip_bomb",
            "archive::tests::bounds::a_bomb_is_stopped_by_its_ratio",
            "archive::layer::tests::bounds::limits_hold",
        ],
    ),
];

pub(in crate::cve) const NETWORKS: &[Row] = &[
    row(
        "CVE-2020-13401",
        "a pod's router advertisement draws the host's traffic to itself",
        "the host listens to no router on a bridge or link that it made for pods",
        &["isolation::cve::network::the_host_hears_no_router_in_a_pod"],
    ),
    row(
        "CVE-2020-8558",
        "the host's loopback is reached through a pod's link",
        "no packet for the loopback crosses a link, whatever route_localnet says",
        &[
            "network::reach::what_listens_on_the_hosts_loopback_stays_out_of_reach",
            "network::old_ways::xtables_guard_the_hosts_loopback",
            "network::lifecycle::ip_forwarding_is_switched_on_and_nothing_else",
        ],
    ),
    row(
        "CVE-2021-20199",
        "a forwarded connection seems to come from 127.0.0.1",
        "what is translated keeps its source",
        &["network::reach::a_forwarded_port_from_everywhere"],
    ),
    row(
        "CVE-2021-4024",
        "a port meant for the loopback is open to all",
        "bound to the address that was asked for",
        &[
            "network::ports::bound_to_the_loopback",
            "network::ports::bound_to_one_address_of_the_host",
        ],
    ),
    row(
        "CVE-2025-54388",
        "another program's flush opens what was closed",
        "tables are owned, and flushes spare them",
        &["network::lifecycle::another_programs_flush_spares_them"],
    ),
    row(
        "CVE-2024-29018",
        "name queries of an isolated network leave through the host",
        "a pod's resolver is its own; nothing answers for it on the host",
        &["network::dns::none", "network::dns::given_by_flags"],
    ),
];

/// What is part of the catalogue and not of rkt.
pub(in crate::cve) const APART: &[(&str, &str)] = &[
    (
        "CVE-2019-13139, GHSA-hw3h, CVE-2026-33748, CVE-2024-1753, CVE-2024-9675, CVE-2024-23651, CVE-2025-4953, GHSA-g2h8",
        "image builders: git references, build contexts, cache mounts",
    ),
    (
        "CVE-2024-41110, CVE-2026-34040, CVE-2026-33997",
        "plugins that authorise requests to a daemon",
    ),
    (
        "CVE-2024-32473",
        "IPv6 that a network's options switch off: ours have no such option",
    ),
    ("GHSA-388v", "Windows"),
    (
        "CVE-2016-5195, CVE-2022-0847, CVE-2021-3493",
        "kernel bugs without a mitigation in a runtime",
    ),
    (
        "CVE-2026-53495, GHSA-7jxh-36q5-gcqv, GHSA-rp3h-jf77-q9p4, GHSA-p4rx-7wvg-fwrc, CVE-2026-55686, GHSA-q6r4-3wmg-fwcq, CVE-2026-57231, CVE-2026-17106",
        "published without the mechanism",
    ),
];
