//! Against queueing theory, where theory has an answer, and against common sense where it has none.

use super::device::Device;
use super::*;
use crate::load::report::ClipTakes;

const SECOND: Duration = Duration::from_secs(1);

/// Decodes of these quantiles, after speech so short that it does not matter.
fn service(decodes: impl Iterator<Item = f64>) -> Service {
    let sample = |decode| Sample { speech: SECOND, decode: Duration::from_secs_f64(decode) };
    let point = Point {
        people: 1,
        samples: decodes.map(sample).collect(),
        clips: Vec::new(),
        speech_per_utterance: None,
        overhead: None,
    };
    Service::measured(vec![point]).unwrap()
}

fn exponential(mean: f64) -> Service {
    service((0..2_000).map(move |step| -mean * (1.0 - (f64::from(step) + 0.5) / 2_000.0).ln()))
}

fn constant(mean: f64) -> Service {
    service(std::iter::once(mean))
}

fn device(service: &Service, duty: f64, utterances: u32) -> Device<'_> {
    let length = Length::Utterances(utterances);
    Device { service, duty, tiers: &[], overhead: Duration::ZERO, seed: 7, length }
}

/// So many people, each so seldom that together they bring this load: their arrivals are all but Poisson.
fn crowd(service: &Service, slots: u16, load: f64, utterances: u32) -> Figures {
    const PEOPLE: u32 = 2_000;
    let rate = load * f64::from(slots) / service.mean_decode().as_secs_f64();
    let duty = rate / f64::from(PEOPLE);
    device(service, duty, utterances).simulate(PEOPLE, slots)
}

/// The probability of waiting in M/M/c.
fn erlang_c(slots: u16, load: f64) -> f64 {
    let offered = load * f64::from(slots);
    let blocked = (1..=slots).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    blocked / (1.0 - load * (1.0 - blocked))
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{what}: {found} instead of {expected}");
}

#[test]
fn random_decodes_wait_as_erlang_says() {
    let service = exponential(0.2);
    let cases = [
        (1, 0.5, 40_000, 0.08),
        (1, 0.7, 50_000, 0.07),
        (1, 0.85, 100_000, 0.12),
        (4, 0.7, 50_000, 0.07),
        (4, 0.85, 100_000, 0.12),
    ];
    for (slots, load, utterances, tolerance) in cases {
        let Figures { utilization: reached, waits, .. } = crowd(&service, slots, load, utterances);
        let waiting = erlang_c(slots, load);
        let mean_ms = waiting * 200.0 / (f64::from(slots) * (1.0 - load));
        let case = format!("{slots} slots, load {load}");
        close(&case, reached, load, 0.02);
        assert!((waits.waited_share - waiting).abs() < 0.02, "{case}: {waits:?} instead of {waiting}");
        close(&case, waits.wait_mean_ms, mean_ms, tolerance);
        // First come, first served: who waits does so for an exponential time. In a full house the ledger lets those go
        // first who have said least: for most the wait is shorter than in theory, for the most talkative it is longer.
        if load < 0.8 {
            close(&case, waits.wait_p95_ms, (waiting / 0.05).ln() * mean_ms / waiting, tolerance);
        }
    }
}

#[test]
fn equal_decodes_wait_as_pollaczek_and_khinchine_say() {
    let service = constant(0.2);
    for (load, utterances, tolerance) in [(0.5, 30_000, 0.06), (0.7, 50_000, 0.07), (0.85, 60_000, 0.12)] {
        let waits = crowd(&service, 1, load, utterances).waits;
        close("waiting", waits.waited_share, load, 0.03);
        close("mean wait", waits.wait_mean_ms, 200.0 * load / (2.0 * (1.0 - load)), tolerance);
    }
}

#[test]
fn the_interval_holds_what_other_seeds_find() {
    let service = exponential(0.2);
    let with = |seed| Device { seed, ..device(&service, 0.01, 10_000) }.simulate(350, 1);
    let first = with(1);
    let inside = (2..12).filter(|seed| {
        let difference = with(*seed).waits.wait_p95_ms - first.waits.wait_p95_ms;
        // Both may be off.
        difference.abs() < 1.5 * first.plus_minus.wait_p95_ms
    });
    assert!(inside.count() >= 8, "{:?}", first.plus_minus);
}

fn question() -> Question {
    Question {
        people: None,
        duty: 0.3,
        tiers: Vec::new(),
        target: SECOND,
        slots: None,
        slots_per_device: Some(2),
        overhead: Some(Duration::from_millis(300)),
        seed: 1,
        length: Length::Utterances(5_000),
    }
}

fn spoken() -> Service {
    Service::assumed(SECOND * 3, Duration::from_millis(200)).unwrap()
}

fn answer(question: &Question) -> Result<Plan, PlanError> {
    plan(question, &spoken(), &Known::default(), &mut |_| {})
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_one_another() {
    let [first, again, other] =
        [1, 1, 2].map(|seed| answer(&Question { seed, people: Some(40), ..question() }).unwrap());
    assert_eq!(first, again);
    assert_ne!(first.figures, other.figures);
}

#[test]
fn most_people_per_device_are_as_many_as_are_served_in_time_and_no_more() {
    let full = answer(&question()).unwrap();
    let most = full.most_people_per_device;
    let with = |people: u32| {
        let question = Question { people: Some(u64::from(people)), slots: Some(2), ..question() };
        answer(&question).unwrap()
    };
    assert_eq!((full.people, full.people_on_each_device), (u64::from(most), most));
    let at = with(most);
    assert!(at.meets_target && at.figures.utilization > 0.5, "{at}");
    assert!(!with(most + most.div_ceil(20)).meets_target);
}

#[test]
fn more_slots_never_make_anybody_wait_longer() {
    let service = spoken();
    let device = device(&service, 0.3, 10_000);
    let figures: Vec<_> = (3..8).map(|slots| device.simulate(100, slots)).collect();
    for pair in figures.windows(2) {
        let (few, more) = (&pair[0], &pair[1]);
        let noise = few.plus_minus.wait_p95_ms + more.plus_minus.wait_p95_ms;
        assert!(more.waits.wait_p95_ms <= few.waits.wait_p95_ms + noise, "{few:?}\n{more:?}");
    }
    assert!(figures[4].waits.wait_p95_ms < figures[0].waits.wait_p95_ms);
}

#[test]
fn a_million_people_are_one_device_many_times() {
    let known = Known { weights_bytes: Some(1_000), slot_bytes: Some(100), ..Known::default() };
    let million = Question { people: Some(1_000_000), ..question() };
    let plan = plan(&million, &spoken(), &known, &mut |_| {}).unwrap();
    assert!(plan.meets_target);
    assert!(plan.people_on_each_device <= plan.most_people_per_device);
    let on_all = plan.devices * u64::from(plan.people_on_each_device);
    assert!((1_000_000..1_000_000 + plan.devices).contains(&on_all), "{plan}");
    assert_eq!(plan.slots, 2 * plan.devices);
    assert_eq!(plan.memory.total_bytes, Some(plan.devices * 1_200));
}

#[test]
fn a_device_gets_no_more_slots_than_its_people_need() {
    // With one slot less the line is too long for 45 people, and grows without end for 60.
    for (people, overloads) in [(45, false), (60, true)] {
        let roomy = Question { people: Some(people), slots_per_device: Some(12), ..question() };
        let plan = answer(&roomy).unwrap();
        assert!(plan.slots > 1 && plan.slots < 12 && plan.devices == 1 && plan.meets_target, "{plan}");
        let fewer = answer(&Question { slots: Some(plan.slots as u16 - 1), ..roomy });
        match fewer {
            Ok(plan) => assert!(!overloads && !plan.meets_target, "{plan}"),
            Err(error) => assert!(overloads && matches!(error, PlanError::Overloaded { .. }), "{error}"),
        }
    }
}

#[test]
fn who_counts_for_more_waits_less() {
    let tier =
        |name: &str, weight, share| Tier { name: name.into(), weight: Weight::new(weight).unwrap(), share };
    let tiers = vec![tier("gold", 20, 0.1), tier("free", 1, 0.9)];
    // In so full a house many have something waiting while others' are decoded, which is where weights count.
    let question = Question { people: Some(28), slots: Some(1), duty: 0.48, tiers, ..question() };
    let plan = answer(&question).unwrap();
    let [gold, free] = plan.figures.tiers.as_slice() else { panic!("{plan}") };
    assert_eq!((gold.people, free.people), (3, 25));
    assert!(gold.waits.wait_mean_ms < free.waits.wait_mean_ms, "{plan}");
    assert!(plan.to_string().contains("gold"), "{plan}");
}

#[test]
fn questions_without_sense_are_refused_and_hopeless_ones_answered_at_once() {
    let wrong = [
        Question { duty: 0.0, ..question() },
        Question { duty: 1.5, ..question() },
        Question { duty: f64::NAN, ..question() },
        Question { people: Some(0), ..question() },
        Question { slots: Some(0), ..question() },
        Question { slots_per_device: Some(0), ..question() },
        Question { target: Duration::ZERO, ..question() },
        Question { length: Length::Utterances(0), ..question() },
    ];
    for question in wrong {
        let error = answer(&question).unwrap_err();
        assert!(matches!(error, PlanError::Setting { .. }) && error.is_usage(), "{error}");
    }
    let crowd = Question { people: Some(1_000_000_000_000), slots: Some(1), ..question() };
    assert!(matches!(answer(&crowd), Err(PlanError::Overloaded { .. })));
    let many = Question { people: Some(200_000), slots: Some(60_000), ..question() };
    assert!(matches!(answer(&many), Err(PlanError::Setting { .. })));
    let hasty = Question { target: Duration::from_millis(400), ..question() };
    assert!(matches!(answer(&hasty), Err(PlanError::Hopeless { .. })));
}

/// Somebody who has a recording of 2 s and somebody who has one of 20 s, as a load test told of them.
fn two_talkers() -> Service {
    let clip = |seconds: f64, decode_ms: f64| ClipTakes {
        file: format!("{seconds}.wav"),
        seconds,
        takes: vec![vec![[seconds, seconds, decode_ms, 0.0]]],
    };
    let samples = [(2, 100), (20, 1_000)]
        .map(|(speech, ms)| Sample { speech: SECOND * speech, decode: Duration::from_millis(ms) });
    let point = Point {
        people: 2,
        samples: samples.to_vec(),
        clips: vec![clip(2.0, 100.0), clip(20.0, 1_000.0)],
        speech_per_utterance: None,
        overhead: None,
    };
    Service::measured(vec![point]).unwrap()
}

#[test]
fn who_has_a_long_recording_says_it_less_often() {
    let service = two_talkers();
    let device = device(&service, 0.5, 20_000);
    // In 40 s one says ten times 2 s, the other says 20 s once; a mean of all recordings would have both at 22 s.
    let demand = device.demand(2);
    close("utterances", demand.utterances, 11.0 / 40.0, 1e-6);
    close("work", demand.work, 2.0 / 40.0, 1e-6);
    let figures = device.simulate(2, 1);
    close("load", figures.utilization, 2.0 / 40.0, 0.05);
}

#[test]
fn more_people_than_there_are_recordings_share_them_and_nobody_counts_to_four_billion() {
    let service = two_talkers();
    let device = device(&service, 0.5, 1_000);
    close("work of ten", device.demand(10).work, 10.0 / 40.0, 1e-6);
    close("work of all", device.demand(u32::MAX).work, f64::from(u32::MAX) / 40.0, 1e-6);
}

/// Ten people with recordings of 2 s, each said every 10 s for 20 minutes, on a machine of this drift.
fn ten_talkers(drift: impl Fn(f64) -> f64) -> Service {
    let clip = |number: u32| {
        let at = |turn: u32| f64::from(turn) * 10.0 + f64::from(number);
        let take = |turn: u32| vec![[2.0, 2.0, 700.0 * drift(at(turn)), at(turn)]];
        ClipTakes { file: format!("{number}.wav"), seconds: 2.0, takes: (0..120).map(take).collect() }
    };
    let clips: Vec<_> = (0..10).map(clip).collect();
    let sample = |take: &Vec<[f64; 4]>| Sample {
        speech: SECOND * 2,
        decode: Duration::from_secs_f64(take[0][2] / 1e3),
    };
    let samples = clips.iter().flat_map(|clip| &clip.takes).map(sample).collect();
    let point = Point { people: 10, samples, clips, speech_per_utterance: None, overhead: None };
    Service::measured(vec![point]).unwrap()
}

#[test]
fn a_line_forms_while_a_machine_is_slow_that_its_mean_speed_knows_nothing_of() {
    let even = ten_talkers(|_| 1.0);
    let uneven = ten_talkers(|at| if ((at / 120.0) as u64).is_multiple_of(2) { 1.4 } else { 0.6 });
    let [even, uneven] = [&even, &uneven].map(|service| device(service, 0.2, 20_000).simulate(10, 1));
    close("load", uneven.utilization, even.utilization, 0.05);
    let [even, uneven] = [even.waits.wait_p95_ms, uneven.waits.wait_p95_ms];
    assert!(uneven > even * 1.5, "{uneven} and {even}");
}
