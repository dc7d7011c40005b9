//! Pods as text: the table of `list` and the lines of `status`.

use super::table::Table;
use super::when;
use stage0::pods::PodInfo;

/// How wide a table is.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub full: bool,
    pub legend: bool,
}

/// One row per app; what belongs to the pod stands in its first row only.
pub fn table(pods: &[PodInfo], look: Look, now_ns: i64) -> String {
    let mut table = Table::new();
    if look.legend {
        let image_id = look.full.then_some("IMAGE ID");
        let mut row = vec!["UUID", "APP", "IMAGE NAME"];
        row.extend(image_id);
        row.extend(["STATE", "CREATED", "STARTED", "NETWORKS"]);
        table.row(row);
    }
    for pod in pods {
        for (at, app) in app_cells(pod).into_iter().enumerate() {
            let pod_cells = if at == 0 {
                pod_cells(pod, look, now_ns)
            } else {
                Default::default()
            };
            let [uuid, state, created, started, networks] = pod_cells;
            let mut row = vec![uuid, app.name, app.image];
            row.extend(look.full.then_some(app.id));
            row.extend([state, created, started, networks]);
            table.row(row);
        }
    }
    table.render()
}

struct AppCells {
    name: String,
    image: String,
    id: String,
}

fn app_cells(pod: &PodInfo) -> Vec<AppCells> {
    if pod.apps.is_empty() {
        let none = || "-".to_string();
        return vec![AppCells {
            name: none(),
            image: none(),
            id: none(),
        }];
    }
    let cells = pod.apps.iter().map(|app| AppCells {
        name: app.name.clone(),
        image: app.image_name.clone().unwrap_or_else(|| "--".to_string()),
        id: app.image_id.chars().take(19).collect(),
    });
    cells.collect()
}

/// UUID, STATE, CREATED, STARTED, NETWORKS.
fn pod_cells(pod: &PodInfo, look: Look, now_ns: i64) -> [String; 5] {
    let (uuid, created, started) = if look.full {
        let started = pod.started_ns.map(|ns| when::full(Some(ns)));
        (pod.uuid.as_str(), when::full(pod.created_ns), started)
    } else {
        let started = pod.started_ns.map(|ns| when::ago(Some(ns), now_ns));
        (pod.uuid.short(), when::ago(pod.created_ns, now_ns), started)
    };
    let state = pod.state.to_string();
    [
        uuid.to_string(),
        state,
        created,
        started.unwrap_or_default(),
        networks(pod),
    ]
}

/// `default:ip4=172.16.28.9, …`
fn networks(pod: &PodInfo) -> String {
    let list: Vec<String> = pod.networks.iter().map(pod::NetInfo::to_string).collect();
    list.join(", ")
}

/// The lines of `rkt status`.
pub fn status(pod: &PodInfo) -> String {
    use pod::State;
    let state = pod.state;
    let mut lines = vec![
        format!("state={state}"),
        format!("created={}", when::full(pod.created_ns)),
    ];
    if pod.started_ns.is_some() {
        lines.push(format!("started={}", when::full(pod.started_ns)));
    }
    let exited = matches!(state, State::Exited | State::ExitedGarbage);
    if state.has_networks() {
        lines.push(format!("networks={}", super::tame(&networks(pod))));
    }
    let ran = exited
        || matches!(
            state,
            State::Running | State::Deleting | State::ExitedDeleting
        );
    if ran {
        lines.extend(pod.pid.map(|pid| format!("pid={pid}")));
        lines.push(format!("exited={exited}"));
        if state != State::Running {
            let codes = pod
                .apps
                .iter()
                .filter_map(|app| Some((&app.name, app.exit_code?)));
            lines.extend(codes.map(|(name, code)| format!("app-{name}={code}")));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub mod tests {
    use super::*;
    use model::PodUuid;
    use pod::State;
    use stage0::pods::{AppInfo, AppMount, AppState};

    pub fn app(name: &str, exit_code: Option<i32>) -> AppInfo {
        AppInfo {
            name: name.to_string(),
            image_name: Some("example.com/busybox:1.0.0".to_string()),
            image_id: format!("sha512-{}", "0123456789abcdef".repeat(4)),
            state: AppState::Exited,
            created_ns: Some(1_000_000_005),
            started_ns: None,
            finished_ns: None,
            exit_code,
            mounts: vec![AppMount {
                name: "data".to_string(),
                container_path: "/mnt".to_string(),
                host_path: String::new(),
                read_only: false,
            }],
            user_annotations: vec![("b".to_string(), "2".to_string())],
            user_labels: Vec::new(),
        }
    }

    pub fn pod(state: State) -> PodInfo {
        PodInfo {
            uuid: PodUuid::new("69ad167a-ad54-4fe6-9949-0bfb217c346f").unwrap(),
            state,
            apps: vec![app("one", Some(0)), app("two", Some(3))],
            networks: vec![pod::NetInfo {
                name: "default".to_string(),
                ip: "172.16.28.9".to_string(),
                ..Default::default()
            }],
            created_ns: Some(1_000_000_005),
            started_ns: Some(2_000_000_000),
            pid: Some(7),
            user_annotations: vec![
                ("b".to_string(), "1".to_string()),
                ("a".to_string(), "2".to_string()),
            ],
            user_labels: Vec::new(),
        }
    }

    fn keys(pod: &PodInfo) -> Vec<String> {
        let text = status(pod);
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| line.split('=').next().unwrap().to_string())
            .collect()
    }

    #[test]
    fn what_status_tells_depends_on_the_state() {
        let ran = [
            "state", "created", "started", "networks", "pid", "exited", "app-one", "app-two",
        ];
        assert_eq!(keys(&pod(State::Exited)), ran);
        assert_eq!(keys(&pod(State::Running)), ran[..6]);
        assert_eq!(keys(&pod(State::Prepared)), ["state", "created", "started"]);
        let deleting = [
            "state", "created", "started", "pid", "exited", "app-one", "app-two",
        ];
        assert_eq!(keys(&pod(State::ExitedDeleting)), deleting);
        assert_eq!(keys(&pod(State::ExitedGarbage)), deleting);
        let mut unknown = pod(State::Preparing);
        (unknown.created_ns, unknown.started_ns) = (None, None);
        assert_eq!(
            status(&unknown),
            "state=preparing\ncreated=0001-01-01 00:00:00 +0000 UTC\n"
        );
    }

    #[test]
    fn the_pods_cells_stand_in_its_first_row_only() {
        let look = Look {
            full: false,
            legend: false,
        };
        let mut empty = pod(State::AbortedPrepare);
        (empty.apps, empty.created_ns, empty.started_ns) = (Vec::new(), None, None);
        empty.networks.clear();
        let text = table(&[pod(State::Exited), empty], look, 5_000_000_000);
        assert_eq!(
            text,
            "69ad167a\tone\texample.com/busybox:1.0.0\texited\t\t3 seconds ago\t\t3 seconds \
             ago\tdefault:ip4=172.16.28.9\n\
             \t\ttwo\texample.com/busybox:1.0.0\t\t\t\t\t\t\t\t\n\
             69ad167a\t-\t-\t\t\t\taborted prepare\ta long while ago\t\t\t\n"
        );
    }
}
