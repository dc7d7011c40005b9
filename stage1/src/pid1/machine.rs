//! The supervisor's decisions: event in, actions out, nothing else.
//!
//! Each app goes Added → (PreStart) → Starting → Running → (PostStop) → Done.
//! An immutable pod is sealed once its first apps are in; it ends when all are
//! Done, and the first app that fails takes the others down in order. A pod
//! that is not sealed ends only when it is told to.
//!
//! Whatever the order of events, no app is lost: every started app reaches
//! Done exactly once, and `Exit` comes last and once.

/// Index of an app, in the order of AddApp.
pub type AppId = usize;

/// How a process of an app ended, as rkt writes it: the exit code, or the
/// number of the signal.
pub type Status = i32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    PreStart,
    Main,
    PostStop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    AddApp {
        pre_start: bool,
        post_stop: bool,
        /// It says itself when it is ready.
        tells: bool,
    },
    StartApp(AppId),
    StopApp(AppId, Force),
    RemoveApp(AppId),
    /// No more apps may come: the pod is immutable from here on.
    Seal,
    /// A spawned process executed its program.
    Executed(AppId, Stage),
    /// An app that says so itself is ready.
    Told(AppId),
    /// A spawned process ended, or never came to execute (then with 203 and
    /// the like).
    Ended {
        app: AppId,
        stage: Stage,
        status: Status,
        by_term: bool,
    },
    /// The sandbox of an app could not be built: rkt itself failed.
    Broken(AppId),
    StopPod(Force),
    /// The time given to a stop is over.
    TimeOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    No,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Spawn(AppId, Stage),
    /// SIGTERM or SIGKILL to the processes of one app.
    TermApp(AppId),
    KillApp(AppId),
    /// The same to every process of the pod.
    TermAll,
    KillAll,
    WriteStatus(AppId, Status),
    /// All start-up apps have executed.
    Started,
    /// All of them are ready.
    Ready,
    /// Ask for `TimeOut` after the stop time-out.
    ArmTimer,
    /// The pod is over.
    Exit(Status),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppState {
    Added,
    PreStarting,
    Starting,
    Running,
    PostStopping(Status),
    Done(Status),
    Removed,
}

#[derive(Clone, Copy, Debug)]
struct App {
    state: AppState,
    pre_start: bool,
    post_stop: bool,
    stopping: bool,
    /// It has not yet said that it is ready, and maybe never will.
    owes_word: bool,
    tells: bool,
}

/// What rkt exits with when it failed itself.
pub const BROKEN: Status = 254;

#[derive(Debug, Default)]
pub struct Machine {
    apps: Vec<App>,
    sealed: bool,
    started: bool,
    ready: bool,
    stopping: bool,
    /// Statuses are left unwritten, as rkt leaves them, after `stop --force`.
    forced: bool,
    /// The first failure decides what the pod exits with.
    verdict: Option<Status>,
    exited: bool,
}

impl Machine {
    pub fn state(&self, app: AppId) -> Option<AppState> {
        self.apps.get(app).map(|app| app.state)
    }

    /// `Ready` was said.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The apps that are not removed, in order.
    pub fn apps(&self) -> impl Iterator<Item = (AppId, AppState)> + '_ {
        self.apps
            .iter()
            .map(|app| app.state)
            .enumerate()
            .filter(|(_, state)| *state != AppState::Removed)
    }

    /// Takes one event and says what is to be done about it, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.exited {
            return actions;
        }
        match event {
            Event::AddApp {
                pre_start,
                post_stop,
                tells,
            } => {
                self.apps.push(App {
                    state: AppState::Added,
                    pre_start,
                    post_stop,
                    stopping: false,
                    owes_word: tells,
                    tells,
                });
            }
            Event::StartApp(id) => self.start(id, &mut actions),
            Event::StopApp(id, force) => self.stop_app(id, force, &mut actions),
            Event::RemoveApp(id) => {
                if let Some(app) = self.apps.get_mut(id)
                    && matches!(app.state, AppState::Added | AppState::Done(_))
                {
                    app.state = AppState::Removed;
                }
            }
            Event::Seal => self.sealed = true,
            Event::Executed(id, stage) => {
                if let Some(app) = self.apps.get_mut(id)
                    && stage == Stage::Main
                    && app.state == AppState::Starting
                {
                    app.state = AppState::Running;
                }
            }
            Event::Told(id) => {
                if let Some(app) = self.apps.get_mut(id) {
                    app.owes_word = false;
                }
            }
            Event::Ended {
                app,
                stage,
                status,
                by_term,
            } => {
                self.ended(app, stage, status, by_term, &mut actions);
            }
            Event::Broken(id) => {
                if let Some(app) = self.apps.get_mut(id) {
                    app.state = AppState::Done(BROKEN);
                }
                self.verdict.get_or_insert(BROKEN);
                self.stop_pod(Force::No, &mut actions);
            }
            Event::StopPod(force) => self.stop_pod(force, &mut actions),
            Event::TimeOut => {
                if self.stopping {
                    actions.push(Action::KillAll);
                } else {
                    let late = self
                        .apps
                        .iter()
                        .enumerate()
                        .filter(|(_, app)| app.stopping && app.is_live());
                    actions.extend(late.map(|(id, _)| Action::KillApp(id)));
                }
            }
        }
        self.settle(&mut actions);
        actions
    }

    fn start(&mut self, id: AppId, actions: &mut Vec<Action>) {
        let stopping = self.stopping;
        let Some(app) = self.apps.get_mut(id) else {
            return;
        };
        if stopping || !matches!(app.state, AppState::Added | AppState::Done(_)) {
            return;
        }
        app.stopping = false;
        app.owes_word = app.tells;
        let stage = if app.pre_start {
            app.state = AppState::PreStarting;
            Stage::PreStart
        } else {
            app.state = AppState::Starting;
            Stage::Main
        };
        actions.push(Action::Spawn(id, stage));
    }

    fn stop_app(&mut self, id: AppId, force: Force, actions: &mut Vec<Action>) {
        let Some(app) = self.apps.get_mut(id) else {
            return;
        };
        if !app.is_live() {
            return;
        }
        app.stopping = true;
        match force {
            Force::Yes => actions.push(Action::KillApp(id)),
            Force::No => actions.extend([Action::TermApp(id), Action::ArmTimer]),
        }
    }

    fn stop_pod(&mut self, force: Force, actions: &mut Vec<Action>) {
        if force == Force::Yes {
            self.stopping = true;
            self.forced = true;
            actions.push(Action::KillAll);
        } else if !self.stopping {
            self.stopping = true;
            self.term(actions);
        }
        for app in &mut self.apps {
            app.stopping = true;
        }
    }

    /// SIGTERM to all but post-stop handlers, which are the end of an app
    /// already.
    fn term(&self, actions: &mut Vec<Action>) {
        let handled = |app: &App| matches!(app.state, AppState::PostStopping(_));
        let live: Vec<AppId> = (0..self.apps.len())
            .filter(|id| self.apps[*id].is_live())
            .collect();
        if live.is_empty() {
            return;
        }
        if live.iter().any(|id| handled(&self.apps[*id])) {
            let others = live.iter().filter(|id| !handled(&self.apps[**id]));
            actions.extend(others.map(|id| Action::TermApp(*id)));
        } else {
            actions.push(Action::TermAll);
        }
        actions.push(Action::ArmTimer);
    }

    fn ended(
        &mut self,
        id: AppId,
        stage: Stage,
        status: Status,
        by_term: bool,
        actions: &mut Vec<Action>,
    ) {
        let (stopping_pod, forced) = (self.stopping, self.forced);
        let Some(app) = self.apps.get_mut(id) else {
            return;
        };
        match (stage, app.state) {
            (Stage::PreStart, AppState::PreStarting) if status == 0 && !stopping_pod => {
                app.state = AppState::Starting;
                actions.push(Action::Spawn(id, Stage::Main));
                return;
            }
            (Stage::PreStart, AppState::PreStarting)
            | (Stage::Main, AppState::Starting | AppState::Running) => {
                // Our own SIGTERM is no failure of the app: rkt writes 0.
                let status = if app.stopping && by_term { 0 } else { status };
                if app.post_stop && !forced {
                    app.state = AppState::PostStopping(status);
                    actions.push(Action::Spawn(id, Stage::PostStop));
                    if stopping_pod {
                        // It has its own time, not what the app has left of it.
                        actions.push(Action::ArmTimer);
                    }
                    return;
                }
                app.state = AppState::Done(status);
            }
            (Stage::PostStop, AppState::PostStopping(main)) => app.state = AppState::Done(main),
            _ => return,
        }
        let AppState::Done(status) = app.state else {
            return;
        };
        if !forced {
            actions.push(Action::WriteStatus(id, status));
        }
        if status != 0 && self.sealed {
            self.verdict.get_or_insert(status);
            self.stop_pod(Force::No, actions);
        }
    }

    /// What follows from the state of all, whatever the event was.
    fn settle(&mut self, actions: &mut Vec<Action>) {
        let started = |app: &App| {
            !matches!(
                app.state,
                AppState::Added | AppState::PreStarting | AppState::Starting
            )
        };
        let begun = self.sealed && !self.stopping && self.apps.iter().all(started);
        if !self.started && begun {
            self.started = true;
            actions.push(Action::Started);
        }
        if !self.ready && begun && !self.apps.iter().any(|app| app.owes_word) {
            self.ready = true;
            actions.push(Action::Ready);
        }
        let over = self.apps.iter().all(|app| !app.is_live());
        let begun = !self.apps.iter().any(|app| app.state == AppState::Added);
        if over && (self.stopping || (self.sealed && begun)) {
            self.exited = true;
            actions.push(Action::Exit(self.verdict.unwrap_or(0)));
        }
    }
}

impl App {
    /// A process of it runs, or is about to.
    fn is_live(&self) -> bool {
        matches!(
            self.state,
            AppState::PreStarting
                | AppState::Starting
                | AppState::Running
                | AppState::PostStopping(_)
        )
    }
}

#[cfg(test)]
mod tests;
