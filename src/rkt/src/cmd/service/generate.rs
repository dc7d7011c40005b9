//! `rkt service generate`: a pod becomes a service of an init system.

use super::detect::Init;
use super::line::Line;
use super::request::{self, Request, STATE};
use super::{place, unit};
use crate::cmd::prepare::PULL_POLICY;
use crate::cmd::{fetch, run_prepared};
use crate::command::{Call, Command, Outcome, Words};
use crate::flags::{Flag, groups};
use crate::output;
use crate::pod_line::PodLine;
use model::fault::Result;
use model::{Fault, PodUuid};
use stage0::Env;
use stage0::stage1_image::{self, Flavor};

const INIT: Flag = Flag::text(
    "init",
    "",
    "openrc, runit, s6, dinit, sysvinit or systemd; by default the init that runs here",
);
const OUTPUT: Flag = Flag::text("output", "", "write the files to this directory");
const OVERWRITE: Flag = Flag::bool("overwrite", false, "replace files that exist");
const UUID_FILE_SAVE: Flag = Flag::text(
    "uuid-file-save",
    "",
    "keep the pod's UUID in this file instead of /run/rkt-services/SERVICE.uuid",
);

/// Of `run`, and understood; the service decides them itself.
const DECIDED: &[Flag] = &[
    Flag::bool("detach", false, "").hide(),
    Flag::bool("rm", false, "").hide(),
];

pub static COMMAND: Command = Command {
    name: "generate",
    short: "print a service that runs a pod",
    usage: "rkt service generate [--init=INIT] [--name=SERVICE] [--output=DIR] UUID|IMAGE [options of rkt run]...",
    long: "What follows is what \"rkt run\" would be told: images, each with its flags and\n\
           arguments, and flags about the pod. Prints a complete service for the init system\n\
           that runs just this, or writes its files to a directory. Several files are printed\n\
           one after the other, each under \"# file: PATH\".\n\
           \n\
           Of a pod that was prepared, UUID makes a service that runs a pod of the same\n\
           manifest: a prepared pod runs once, a service more often. Its images must stay in\n\
           the store.\n\
           \n\
           --name before the first image calls the service so, after an image its app. The\n\
           service runs the pod as the user who asks for it, with the flags before \"service\"\n\
           or here that are rkt's own, such as --dir.\n\
           \n\
           \t$ rkt --insecure-options=image service generate --init=runit --output=/etc/sv \\\n\
           \t    --net=host docker://redis",
    flags: &[
        &[INIT, OUTPUT, OVERWRITE, UUID_FILE_SAVE],
        &[PULL_POLICY, fetch::QUIET],
        DECIDED,
        groups::APP,
        groups::DNS,
        groups::POD,
        groups::RUN,
        groups::SIGNATURE,
        groups::STAGE1,
        groups::STORE,
    ],
    run: Some(run),
    words: Words::Images,
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let (line, pod) = Line::read(call)?;
    let env = crate::cmd::env(&pod.flags, COMMAND.name)?;
    let init = match &line.init {
        Some(word) => Init::named(word)?,
        None => {
            let (init, trace) = Init::running()?;
            let name = init.name();
            output::remark(COMMAND.name, &format!("for {name}: there is {trace}"));
            init
        }
    };
    for remark in &line.remarks {
        output::remark(COMMAND.name, remark);
    }
    let base = match &line.output {
        Some(dir) => absolute(dir)?,
        None => unit::place(init).to_string(),
    };
    request::check_place(&base)?;
    let request = request(&env, &line, &pod)?;
    let unit = unit::make(init, request, &base)?;
    match line.output {
        Some(_) => place::write(&unit.files, line.overwrite)?,
        None => place::print(&unit.files)?,
    }
    let said = match line.output {
        Some(_) => "written; to enable the service:".to_string(),
        None => said(&unit.files),
    };
    output::remark(COMMAND.name, &said);
    for command in &unit.enable {
        output::err_line(&format!("  {command}"));
    }
    Ok(0)
}

/// Where the user is to put what was printed.
fn said(files: &[unit::File]) -> String {
    let place = |file: &unit::File| match file.mode & 0o111 {
        0 => file.path.clone(),
        _ => format!("{} (mode 0{:o})", file.path, file.mode),
    };
    let places: Vec<String> = files.iter().map(place).collect();
    format!("belongs in {}; to enable it then:", places.join(", "))
}

fn absolute(dir: &str) -> Result<String> {
    let path = std::path::absolute(dir).map_err(|e| Fault::io("resolve", dir, e))?;
    Ok(path.to_string_lossy().into_owned())
}

fn request(env: &Env, line: &Line, pod: &PodLine) -> Result<Request> {
    // What would only be told when the service starts.
    run_prepared::options(&pod.flags)?;
    let asked = crate::cmd::prepare::request(pod)?;
    let made = Made::of(env, line, pod)?;
    let name = match &line.name {
        Some(name) => name.clone(),
        None => made.name,
    };
    request::check_name(&name)?;
    let user = request::caller()?;
    let mut rkt = vec![request::program()?];
    rkt.extend(line.globals.iter().cloned());
    if user.is_some() && pod.flags.last("dir").is_none() {
        rkt.push(format!("--dir={}", env.dir.display()));
    }
    let stage1 = match made.is_fly {
        true => Some(Flavor::Fly),
        false => stage1_image::built_in(env, asked.stage1.as_ref())?,
    };
    let uuid_file = match (&line.uuid_file, &user) {
        (Some(file), None) => file.clone(),
        // In a directory of the user's a link could stand in its place.
        (Some(_), Some(user)) => {
            return Err(Fault::usage(format!(
                "--uuid-file-save is root's to say: the service makes the file as root and gives it to {}",
                model::text::quote(&user.name)
            ))
            .hint("leave it out: /run/rkt-services has a place for it"));
        }
        (None, _) => format!("{STATE}/{name}.uuid"),
    };
    Ok(Request {
        name,
        title: made.title,
        rkt,
        words: made.words,
        uuid_file,
        user,
        stage1,
        network: request::wants_network(line, pod),
        manifest: made.manifest,
    })
}

/// The pod: of images, of a manifest, or of a pod that was prepared.
struct Made {
    name: String,
    title: String,
    words: Vec<String>,
    manifest: Option<Vec<u8>>,
    /// It was prepared for this stage1, which is one of its words then.
    is_fly: bool,
}

impl Made {
    fn of(env: &Env, line: &Line, pod: &PodLine) -> Result<Made> {
        let apps = &pod.pod.apps;
        if let [app] = apps.as_slice()
            && PodUuid::new(&app.image).is_ok()
        {
            return Made::prepared(env, line, &app.image);
        }
        let images: Vec<&str> = apps.iter().map(|app| app.image.as_str()).collect();
        let (name, title) = match (images.first(), pod.flags.filled("pod-manifest")) {
            (Some(first), None) => (request::name_of(first), images.join(", ")),
            (None, Some(file)) => {
                let bytes = std::fs::read(&file).map_err(|e| Fault::io("open", &file, e))?;
                let (_, app) = request::manifest(&bytes)?;
                (app, file)
            }
            (Some(_), Some(_)) => {
                return Err(Fault::usage(
                    "conflicting flags set with --pod-manifest (see --help)",
                ));
            }
            (None, None) => {
                return Err(Fault::usage(
                    "must provide a pod's UUID, at least one image or the pod manifest",
                ));
            }
        };
        Ok(Made {
            name,
            title,
            words: line.words.clone(),
            manifest: None,
            is_fly: false,
        })
    }

    /// The pod as it was prepared; what `run-prepared` takes may be added.
    fn prepared(env: &Env, line: &Line, uuid: &str) -> Result<Made> {
        let name = stage0::pods::PodName::Uuid(uuid.to_string());
        let (manifest, app) = request::manifest(&stage0::pods::cat_manifest(env, &name)?)?;
        let mut words: Vec<String> = line.words.clone();
        words.retain(|word| word != uuid);
        let known = |word: &str| {
            let mut flags = groups::DNS.iter().chain(groups::RUN);
            flags.any(|flag| is_flag(word, flag.name))
        };
        if let Some(word) = words.iter().find(|word| !known(word)) {
            return Err(Fault::usage(format!(
                "{} cannot be said of a pod that was prepared",
                model::text::quote(word)
            ))
            .hint("flags of run-prepared can"));
        }
        let found = pod::Pod::find(&env.dir, uuid)?;
        let is_fly = found.flavor().as_deref() == Some(Flavor::Fly.name());
        if is_fly {
            words.push("--stage1-name=coreos.com/rkt/stage1-fly".to_string());
        }
        if !found.is_overlay() {
            words.push("--no-overlay=true".to_string());
        }
        if found.private_users()?.is_some() {
            words.push("--private-users=true".to_string());
        }
        output::remark(
            COMMAND.name,
            "a prepared pod runs once: the service makes a new one of its manifest at each start, \
             and needs the manifest's images in the store",
        );
        Ok(Made {
            title: format!("pod {uuid} ({app})"),
            name: app,
            words,
            manifest: Some(manifest),
            is_fly,
        })
    }
}

fn is_flag(word: &str, name: &str) -> bool {
    word.strip_prefix("--")
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| rest.starts_with('='))
}
