//! The program that this project wants to be used for: Debian's Redis, its data on a host volume, over the loopback.
//! Run, written to, stopped, removed, run again; the data is there.

use tests::proc::{eventually, free_port};
use tests::redis::{Redis, image};
use tests::rkt::Running;
use tests::{Rkt, Scratch, root_test, skip};

fn serve(s: &Scratch, image: &std::path::Path, port: u16) -> (Running, String) {
    let save = s.at("uuid");
    let volume = format!(
        "--volume=data,kind=host,source={}",
        s.at("data-of-redis").display()
    );
    let pod = Rkt::new(s)
        .args([
            "run",
            "--net=host",
            &volume,
            &format!("--uuid-file-save={}", save.display()),
        ])
        .arg(image)
        .args([
            "--",
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--dir",
            "/data",
            "--save",
            "",
            "--appendonly",
            "yes",
        ])
        .spawn();
    let mut pod = pod;
    eventually("Redis answers", || {
        assert!(
            pod.alive(),
            "the pod ended early\n{}{}",
            pod.stdout(),
            pod.stderr()
        );
        Redis::connect(port)
    });
    (
        pod,
        std::fs::read_to_string(&save).expect("the UUID was saved"),
    )
}

root_test! {
    fn data_outlives_the_pod(s) {
        let image = match image(s.path()) {
            Ok(image) => image,
            Err(reason) => skip!("{reason}"),
        };
        s.mkdir("data-of-redis");
        let port = free_port();

        let (pod, uuid) = serve(s, &image, port);
        let mut redis = Redis::connect(port).expect("it answered a moment ago");
        assert_eq!(redis.ask("SET key kept").as_deref(), Some("OK"));
        Rkt::new(s).args(["stop", &uuid]).run().ok();
        pod.end();
        Rkt::new(s).args(["rm", &uuid]).run().ok();

        let (pod, uuid) = serve(s, &image, port);
        let mut redis = Redis::connect(port).expect("it answered a moment ago");
        assert_eq!(redis.ask("GET key").as_deref(), Some("kept"));
        drop(redis);
        Rkt::new(s).args(["stop", &uuid]).run().ok();
        pod.end();
    }
}
