//! Bundles, launched and closed by this library and by its peers, in turns. The README has the command.
//!
//! It prints tables, and with `--picture FILE` it draws one of them. `--rounds N` replaces the number of rounds.
//!
//! Bundles that come and go side by side, and the start of a process, are measured in processes of their own:
//! `child WAY COUNT`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "../../../tests/support/engine.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod engine;
mod measure;
mod picture;
mod ways;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use engine::{World, cli, is_podman, plan_apart, world};
use measure::{Ratio, median, ninetieth, processor_time, ratio};
use ways::Site;

struct Options {
    rounds: usize,
    picture: Option<String>,
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    if let ["child", way, count] = words[..] {
        return ways::child(way, count.parse().unwrap());
    }
    let mut options = Options { rounds: 24, picture: None };
    for pair in words.chunks(2) {
        match pair {
            ["--rounds", rounds] => options.rounds = rounds.parse().unwrap(),
            ["--picture", file] => options.picture = Some((*file).to_owned()),
            other => panic!("there is no {other:?}"),
        }
    }
    let Some(world) = world("peers") else { return };
    println!("{}, {} rounds", world.engine().version().unwrap(), options.rounds);
    let bars = one_after_another(&world, &options);
    if !is_podman() {
        many(&world);
        suites(&world, &options);
        beside_networks(&world, &options);
        from_nothing(&options);
    }
    if let Some(file) = &options.picture {
        let title = world.engine().version().unwrap();
        std::fs::write(file, picture::draw(&title, &bars)).unwrap();
    }
    world.assert_nothing_left();
}

/// One bundle up and down, by each way in turns.
fn one_after_another(world: &World, options: &Options) -> Vec<(&'static str, Ratio)> {
    let site = Site::new(world.state.path());
    let ways: Vec<_> = ways::all().into_iter().filter(|way| way.is_there()).collect();
    let mut walls: Vec<Vec<Duration>> = vec![Vec::new(); ways.len()];
    let mut processor = walls.clone();
    for round in 0..=options.rounds {
        for (number, way) in ways.iter().enumerate() {
            let (start, before) = (Instant::now(), processor_time());
            (way.up)(&site, &world.plan())();
            // The first round warms up.
            if round > 0 {
                walls[number].push(start.elapsed());
                processor[number].push(processor_time().saturating_sub(before));
            }
        }
    }
    println!("\none bundle up and down, in ratios to the first line with the bounds of 95 %");
    println!("{:<34} {:>9} {:>9} {:>22} {:>9}", "", "median", "p90", "ratio", "processor");
    let mut bars = Vec::new();
    for (number, way) in ways.iter().enumerate() {
        let ratio = ratio(&walls[number], &walls[0]);
        println!(
            "{:<34} {:>9.1?} {:>9.1?} {:>22} {:>9.1?}",
            way.name,
            median(&walls[number]),
            ninetieth(&walls[number]),
            ratio.to_string(),
            median(&processor[number])
        );
        bars.push((way.name, ratio));
    }
    let of = |name: &str| ways.iter().position(|way| way.name == name);
    for (a, b) in ways::BARS {
        if let (Some(a), Some(b)) = (of(a), of(b)) {
            let ratio = ratio(&walls[a], &walls[b]);
            println!("{} is {ratio} of {}", ways[a].name, ways[b].name);
        }
    }
    bars
}

/// Bundles that come and go side by side, each time in a process of its own.
fn many(world: &World) {
    const ROUNDS: usize = 3;
    println!("\nmany at once, medians of {ROUNDS}");
    let head = ["up", "down", "processor", "memory"];
    println!("{:<34} {:>5} {:>9} {:>9} {:>11} {:>9}", "", "", head[0], head[1], head[2], head[3]);
    for count in [1, 8, 32] {
        let mut all = vec![Vec::new(); ways::MANY.len()];
        for _ in 0..ROUNDS {
            for (way, told) in ways::MANY.iter().zip(&mut all) {
                told.push(Child::run(way, count));
                world.assert_nothing_left();
            }
        }
        for (way, told) in ways::MANY.iter().zip(&all) {
            let of =
                |what: fn(&Child) -> Duration| median(&told.iter().map(what).collect::<Vec<_>>());
            let each = of(|it| it.processor) / u32::try_from(count).unwrap();
            let memory = told.iter().map(|it| it.memory).max().unwrap() as f64 / 1024.0;
            let failed = told.iter().map(|it| it.failed).max().unwrap();
            let note = if failed > 0 { format!(", {failed} failed") } else { String::new() };
            println!(
                "{way:<34} {count:>5} {:>9.1?} {:>9.1?} {each:>8.1?} each {memory:>6.1} MB{note}",
                of(|it| it.up),
                of(|it| it.down)
            );
        }
    }
}

/// Eight bundles one after another, as a suite of tests has them.
fn suites(world: &World, options: &Options) {
    let rounds = options.rounds.div_ceil(4);
    let site = Site::new(world.state.path());
    let mut walls = vec![Vec::new(); ways::SUITES.len()];
    for _ in 0..rounds {
        for ((_, suite), walls) in ways::SUITES.iter().zip(&mut walls) {
            let start = Instant::now();
            suite(&site);
            walls.push(start.elapsed());
        }
    }
    println!("\na suite of eight, medians of {rounds}, in ratios to the first line");
    for ((name, _), wall) in ways::SUITES.iter().zip(&walls) {
        println!("{name:<50} {:>9.1?} {:>22}", median(wall), ratio(wall, &walls[0]).to_string());
    }
}

/// The same with other networks on the engine: what this library adds to the engine's own time.
fn beside_networks(world: &World, options: &Options) {
    let rounds = options.rounds.div_ceil(2);
    let site = Site::new(world.state.path());
    let (ours, engines) = (ways::named("launch"), ways::named("the best order"));
    println!("\nwith other networks, medians of {rounds}");
    let mut others: Vec<String> = Vec::new();
    let mut first = None;
    for count in [0, 50, 150] {
        while others.len() < count {
            let number = others.len();
            let (name, subnet) = (format!("other-{number}"), format!("10.120.{number}.0/24"));
            cli(&["network", "create", "--subnet", &subnet, &name]);
            others.push(name);
        }
        let mut walls = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (way, walls) in [&ours, &engines].iter().zip(&mut walls) {
                let start = Instant::now();
                (way.up)(&site, &world.plan())();
                walls.push(start.elapsed());
            }
        }
        let [ours, engines] = [median(&walls[0]), median(&walls[1])];
        let beyond = ours.as_secs_f64() - engines.as_secs_f64();
        let (alone, at_first) = *first.get_or_insert((ours.as_secs_f64(), beyond));
        let grown = (beyond - at_first) / alone * 100.0;
        println!(
            "{count:>4} networks: launch {ours:.1?}, the best order {engines:.1?}; grown by {grown:.1} %"
        );
    }
    for name in others {
        cli(&["network", "rm", &name]);
    }
}

/// From the start of a process to a running bundle.
fn from_nothing(options: &Options) {
    let rounds = options.rounds.div_ceil(2);
    let mut all = vec![Vec::new(); ways::MANY.len()];
    for _ in 0..rounds {
        for (way, walls) in ways::MANY.iter().zip(&mut all) {
            walls.push(Child::run(way, 1).running);
        }
    }
    println!("\nfrom the start of a process to a running bundle, medians of {rounds}");
    for (way, walls) in ways::MANY.iter().zip(&all) {
        println!("{way:<34} {:>9.1?} {:>22}", median(walls), ratio(walls, &all[0]).to_string());
    }
}

/// The report of a process of its own on bundles side by side.
#[derive(Clone)]
struct Child {
    /// Since its start, seen from here.
    running: Duration,
    up: Duration,
    down: Duration,
    processor: Duration,
    /// The most that it had, in KiB.
    memory: u64,
    failed: u64,
}

impl Child {
    fn run(way: &str, count: usize) -> Self {
        let start = Instant::now();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", way, &count.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || {
            let line = lines.next().unwrap().unwrap();
            line.split(' ').map(|word| word.parse().unwrap()).collect::<Vec<u64>>()
        };
        let up = next();
        let running = start.elapsed();
        let down = next();
        assert!(child.wait().unwrap().success(), "{way} {count}");
        let time = Duration::from_micros;
        Self {
            running,
            up: time(up[0]),
            failed: up[1],
            down: time(down[0]),
            processor: time(down[1]),
            memory: down[2],
        }
    }
}

/// The plans of bundles side by side.
fn plans(count: usize) -> impl Iterator<Item = sidecar_bundle::NetworkPlanned> {
    (0..count).map(|number| plan_apart(&format!("peer-{number}"), 100, number))
}
