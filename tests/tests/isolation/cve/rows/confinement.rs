//! What an app does to get out: by its processes and privileges, and by paths, mounts and files.

use super::{Row, row};

pub(in crate::cve) const PROCESSES: &[Row] = &[
    row(
        "CVE-2019-5736, CVE-2024-21626 (second part)",
        "a pod writes the runtime's program through `/proc/<pid>/exe`",
        "rkt runs from a read-only bind that is attached nowhere, before Linux 5.12 from a sealed copy in memory",
        &[
            "isolation::cve::binary::an_entry_point_that_is_the_runtime_itself",
            "isolation::cve::binary::who_enters_is_not_written_to",
            "isolation::cve::binary::where_the_kernel_has_no_detached_mounts",
            "root::confine::the_runtimes_own_program_survives",
        ],
    ),
    row(
        "CVE-2024-21626, GHSA-xr7r-f8xq-vfvv",
        "a descriptor of a host directory stays open, and the working directory leads through it",
        "all descriptors are closed before a path of the image is walked; no link of procfs is followed; the kernel must name the directory as below the root",
        &[
            "isolation::cve::directory::a_working_directory_behind_a_descriptor",
            "isolation::cve::directory::a_working_directory_of_the_supervisor",
            "isolation::cve::directory::who_enters_a_directory_that_is_gone",
            "isolation::cve::directory::no_process_of_an_app_has_a_descriptor_of_ours",
        ],
    ),
    row(
        "CVE-2016-9962",
        "root in the pod traces who enters, and takes its memory and descriptors",
        "not dumpable from its first instruction on, more capabilities than the app until exec, no SYS_PTRACE for the app",
        &[
            "isolation::cve::directory::nothing_is_reached_through_a_process_that_enters",
            "root::confine::an_app_is_confined",
        ],
    ),
    row(
        "CVE-2019-10144, CVE-2019-10145, CVE-2019-10147",
        "`enter` gives a process all capabilities, no filter, and no cgroup",
        "it goes the app's own way from the cgroup to the filter",
        &[
            "root::confine::enter_is_confined_like_the_app",
            "root::confine::enter_takes_the_apps_user_directory_and_environment",
        ],
    ),
    row(
        "CVE-2022-1227, CVE-2019-14271, CVE-2026-41567",
        "a program or library of the image is executed or loaded outside of its sandbox",
        "nothing is executed but rkt itself; it is static, and inflates in its own process",
        &["isolation::cve::enter::no_program_or_library_of_the_image_is_used"],
    ),
    row(
        "CVE-2022-24769, CVE-2022-29162, CVE-2022-27649, CVE-2022-27650",
        "inheritable capabilities make those of a file permitted",
        "the inheritable set is empty, at start and on entering",
        &[
            "isolation::cve::users::a_file_with_capabilities_gives_none",
            "root::confine::enter_is_confined_like_the_app",
        ],
    ),
    row(
        "CVE-2016-8867, CVE-2018-1000400, CVE-2018-10856",
        "a user other than root keeps capabilities",
        "the ambient set is empty, and no-new-privileges is on for everyone but root",
        &[
            "root::confine::a_user_without_root_has_no_capability",
            "isolation::cve::users::a_file_with_capabilities_gives_none",
        ],
    ),
    row(
        "CVE-2022-36109, CVE-2023-25173, CVE-2022-2989, CVE-2022-2990",
        "supplementary groups lack the primary one, or are the caller's",
        "set anew, with the primary group",
        &[
            "isolation::cve::users::groups_hold_the_primary_one_and_those_that_were_asked_for",
            "root::run::supplementary_groups_and_the_owner_of_a_file",
        ],
    ),
    row(
        "CVE-2016-3697, CVE-2026-46680, CVE-2026-30892, CVE-2024-40635",
        "a word for a user is read as another one: digits as a name, a number that wraps, a rest that is ignored",
        "digits are a number below 2³²−1 and nothing else; the rest of a word is an error",
        &[
            "isolation::cve::users::a_word_of_digits_is_a_number_and_nothing_else_is",
            "stage1::child::identity::tests::numbers_are_plain_decimals_in_range",
            "model::oci::config::tests::users_are_numbers_that_fit_or_names",
        ],
    ),
    row(
        "CVE-2024-9676, CVE-2025-4437, CVE-2026-47262, GHSA-72x6, GHSA-qx3x",
        "`/etc/passwd` or `group` of an image is a fifo, a device, a link or a gigabyte",
        "opened inside the root without waiting, a regular file only, a megabyte of it at most",
        &[
            "isolation::cve::users::a_passwd_that_is_huge_or_no_file",
            "sys::fs::tests::read_takes_regular_files_up_to_a_limit",
        ],
    ),
    row(
        "CVE-2021-3602, CVE-2021-21334",
        "the caller's environment, or another container's, shows",
        "each app's environment is made from its own plan",
        &[
            "root::run::environment",
            "root::run::two_apps_share_pid_ipc_uts_and_net_but_no_root",
        ],
    ),
    row(
        "CVE-2022-1708, CVE-2022-23471, CVE-2022-31030, CVE-2023-25153, CVE-2025-64329",
        "output or requests without end fill the runtime's memory",
        "logs are bounded and turned over, streams are carried in a fixed buffer, peers of the control socket are few",
        &[
            "isolation::cve::enter::output_without_end_takes_no_memory",
            "pod::control::socket::tests::hostile_bytes_end_the_connection",
        ],
    ),
    row(
        "CVE-2019-14891",
        "the app's memory limit kills the supervisor, and nothing is cleaned up",
        "the supervisor is in a cgroup of its own",
        &["root::limits::over_the_memory_limit_is_137"],
    ),
    row(
        "(no id)",
        "a pod's processes signal the supervisor or who enters",
        "PID 1 obeys signals from outside its namespace alone; an entered command ends like any process",
        &["isolation::cve::enter::signals_of_the_app_end_the_command_and_nothing_else"],
    ),
    row(
        "CVE-2020-15257",
        "a control socket with an abstract name is reached by who shares the network",
        "a socket file of mode 0600 below 0750, and the peer's user is looked at",
        &[
            "isolation::cve::enter::no_socket_of_ours_has_an_abstract_name",
            "isolation::cve::enter::the_state_on_disk_is_for_root_alone",
            "pod::control::socket::tests::strangers_are_turned_away",
        ],
    ),
    row(
        "CVE-2022-0492, CVE-2023-25809, CVE-2025-47291",
        "a cgroup is written from inside (release_agent, limits)",
        "no cgroup file system is in the pod, `/sys/fs` is covered, each app has a cgroup namespace",
        &[
            "root::confine::an_app_is_confined",
            "cgroup::live_tests::a_pod_is_confined_killed_and_removed",
        ],
    ),
    row(
        "CVE-2017-5123, CVE-2017-7308, CVE-2020-14386, CVE-2022-0185, CVE-2022-25636, CVE-2023-0386, CVE-2023-32233, CVE-2024-1086",
        "kernel bugs behind user namespaces, packet sockets, netfilter and the mount calls",
        "the filter refuses new user namespaces and mounts; NET_ADMIN is not given",
        &[
            "stage1::plan::seccomp::tests::nothing_of_the_blacklist_is_in_the_default_without_its_capability",
            "stage1::plan::seccomp::tests::the_default_filter_means_its_lists",
            "root::confine::an_app_is_confined",
        ],
    ),
];

pub(in crate::cve) const PATHS: &[Row] = &[
    row(
        "CVE-2021-43816",
        "relabelling a volume reaches another path through a link",
        "a tree is labelled by descriptors, no link is followed and no other file system entered",
        &["sys::lsm::tests::a_tree_is_labelled_and_nothing_outside_of_it"],
    ),
    row(
        "CVE-2021-30465, CVE-2019-18837, CVE-2017-1002101, CVE-2021-25741, CVE-2024-11218",
        "a mount's target or source is exchanged for a link while it is resolved",
        "resolved once, inside the root; what is mounted, and where, are descriptors from then on",
        &[
            "isolation::cve::swap::mount_targets_on_a_volume",
            "isolation::cve::swap::a_source_that_is_exchanged_is_one_or_the_other",
            "isolation::cve::swap::a_read_only_volume_stays_read_only",
            "isolation::cve::swap::mounts_on_a_volume_where_the_kernel_knows_only_paths",
            "sys::fs::tests::a_link_that_is_swapped_in_leads_nowhere",
        ],
    ),
    row(
        "CVE-2024-45310, CVE-2026-41568, CVE-2026-42306",
        "directories for mount points are made through a link that is swapped in",
        "each is made in its parent's descriptor and opened without following",
        &[
            "isolation::cve::swap::mount_targets_on_a_volume",
            "sys::fs::tests::mkdir_all_makes_what_is_missing_and_never_through_a_dangling_link",
        ],
    ),
    row(
        "CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2026-41579, CVE-2026-47766",
        "`/proc`, `/sys` or `/dev` of an image is a link, and masks or devices land elsewhere",
        "only real directories are mounted on, opened without following",
        &[
            "isolation::cve::images::links_out_of_the_root",
            "isolation::cve::images::files_fifos_and_devices",
            "root::confine::proc_and_sys_as_the_image_likes_them_do_no_harm",
        ],
    ),
    row(
        "CVE-2019-19921, CVE-2025-31133 (as a race)",
        "the directory is exchanged between the mount and its masks",
        "what is masked must be the new mount and of its kind, else the app does not start",
        &[
            "isolation::cve::procfs::a_proc_that_is_exchanged_while_it_is_masked",
            "isolation::cve::procfs::a_sys_that_is_exchanged_while_it_is_masked",
            "isolation::cve::procfs::a_dev_that_is_exchanged_while_it_is_filled",
        ],
    ),
    row(
        "CVE-2025-31133",
        "`/dev/null` of the pod is replaced, and what it leads to is bound over a masked path",
        "masks come from the supervisor's own root, where no app gets to",
        &[
            "isolation::cve::images::files_that_we_bind_over",
            "root::confine::an_app_is_confined",
        ],
    ),
    row(
        "CVE-2025-52565",
        "a terminal is bound as the console by a path that leads elsewhere",
        "`/dev` is fresh, the console is a file of it, and a terminal for `enter` is opened below the checked devpts alone",
        &[
            "isolation::cve::procfs::a_terminal_comes_from_the_pods_devpts_or_not_at_all",
            "isolation::cve::images::files_that_we_bind_over",
            "root::terminal::enter_has_a_terminal_of_its_own",
        ],
    ),
    row(
        "CVE-2019-16884, CVE-2025-52881",
        "labels and settings are written to files that only look like procfs",
        "volumes on procfs are refused; a process' own files are found by number below a procfs' root, on the same mount; sysctls go through a procfs that is mounted nowhere",
        &[
            "isolation::cve::procfs::what_enter_writes_goes_to_procfs_or_nowhere",
            "isolation::cve::procfs::volumes_on_procfs_are_refused",
            "sys::procfs::tests::the_threads_own_file_is_written",
            "stage1::plan::volumes::tests::targets_are_cleaned_or_refused",
        ],
    ),
    row(
        "CVE-2024-5154, CVE-2024-9341, CVE-2025-9566, CVE-2025-24965",
        "a file that the runtime writes or binds in the image is a link",
        "found inside the root; a file that is made there is new and no link",
        &[
            "isolation::cve::images::files_that_we_bind_over",
            "isolation::cve::images::links_out_of_the_root",
            "stage0::etc::tests::a_symlink_of_the_image_leads_nowhere",
        ],
    ),
    row(
        "CVE-2018-15664, CVE-2019-10152, CVE-2019-18466, CVE-2023-0778, CVE-2021-41089",
        "copying out of or into a container follows its links on the host",
        "export walks by descriptors and keeps links as links; the target of extract and render is made anew and renamed",
        &[
            "isolation::cve::enter::what_an_app_left_behind_leads_nobody_astray",
            "sys::copy::tests::links_out_of_the_tree_stay_links",
            "root::lifecycle::export_of_an_exited_pod_holds_its_writes",
        ],
    ),
    row(
        "CVE-2021-32760, CVE-2025-47290, CVE-2021-29136, CVE-2026-44517",
        "a member of an archive writes or changes modes outside of its root",
        "each member is placed by descriptors below the root; links are replaced, never written through",
        &[
            "archive::tests::confined::nothing_leaves_the_root_through_names_or_links",
            "archive::tests::confined::a_link_at_the_final_name_is_replaced_and_never_written_through",
            "archive::layer::tests::hostile::links_lead_nowhere_outside",
            "images::hostile::layers_that_climb_out",
            "blackbox::names_that_climb_out",
        ],
    ),
    row(
        "CVE-2022-23648, CVE-2020-1726",
        "the content of a volume's mount point is copied from the host, or over what a volume holds",
        "copied inside the image's root, and only into a volume that was just made",
        &[
            "stage1::apply::volumes::tests::a_mount_point_that_leads_out_of_the_image_brings_nothing",
            "stage1::apply::volumes::tests::what_a_volume_holds_already_is_never_replaced",
            "root::logs::a_mount_point_of_a_docker_image_begins_with_what_lies_there",
        ],
    ),
    row(
        "CVE-2024-23652, GHSA-32pv",
        "cleaning up follows links, and removes the host's files",
        "deletion goes by descriptors, follows no link and enters no mount",
        &[
            "sys::fs::tests::remove_tree_takes_deep_and_wide_trees_and_follows_no_link",
            "sys::fs::tests::remove_tree_does_not_enter_a_mount",
            "pod::pod::tests::deletion_follows_no_link_and_empties_deep_trees",
        ],
    ),
    row(
        "CVE-2018-10892, GHSA-jq35-85cj-fj4p, GHSA-7ww5, GHSA-6fw5-f8r9-fgfm",
        "files of `/proc` and `/sys` control hardware, or tell what others compute",
        "covered by an empty directory, or by a device that cannot be opened",
        &["root::confine::an_app_is_confined"],
    ),
    row(
        "CVE-2021-41091, CVE-2021-41103, CVE-2024-25621, CVE-2021-21284",
        "users of the host walk into the state, and run setuid programs of images",
        "0750 and no access for others, owned by root",
        &[
            "isolation::cve::enter::the_state_on_disk_is_for_root_alone",
            "root::run::nothing_of_the_data_directory_is_open_to_others",
        ],
    ),
    row(
        "CVE-2025-0750, CVE-2026-53489, CVE-2023-3676",
        "the path of a log leads elsewhere",
        "named after the app, whose name is no path; opened below the pod's own directory",
        &[
            "isolation::cve::words::names_and_identifiers_are_no_paths",
            "pod::list::tests::fifos_and_links_instead_of_files_stop_nobody",
        ],
    ),
    row(
        "CVE-2024-0132, CVE-2024-0137, CVE-2025-23266, CVE-2025-23267",
        "a hook runs with variables or libraries of the image",
        "there are no hooks; CNI programs get a clean environment and the host's root",
        &[
            "network::cni::what_a_program_is_told",
            "net::cni::tests::a_program_gets_a_clean_start",
        ],
    ),
];
