//! How fast somebody who asks to publish is answered: a thousand hooks a second, half of nginx-rtmp's for a name that is
//! denied, half of `MediaMTX`'s for names that are not. The peer of the same run is nginx, answering 200 to anything.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rig::clips;
use rig::events::is;
use rig::publisher::{Publisher, Times};
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::house::House;

const A_SECOND: u32 = 1000;
const CALLERS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// What nginx-rtmp asks for a name that is denied.
const DENIED: &str =
    "app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=127.0.0.1&clientid=99999&call=publish&name=denied&type=live";

/// A second server, whose hook asks before there is a session: what is let in is attached only when the server lists it.
const SECOND: &str = "\n[[server]]\nname = \"second\"\nkind = \"mediamtx\"\n";

pub(crate) fn measure(span: Duration) -> Result<Value> {
    let house = House::start(SECOND)?;
    let events = house.sluicegate.events()?;
    let _cut = Publisher::start(&clips::copy()?, &house.url("denied"), Times::Once)?;
    let gone = |event: &Value| is(event, "action", "denied") && event["progress"] == "observed_gone";
    events.wait(0, "the name to be denied", PATIENCE, gone)?;

    let (api, peer) = (house.sluicegate.api(), format!("{}/ok", house.nginx.http()));
    let ours = rush("Sluicegate", span, &|agent, number| ask(agent, &api, number))?;
    let nginx = rush("nginx", span, &|agent, _| answer(agent.post(&peer).send_empty()?, 200))?;
    Ok(json!({ "ours": ours, "nginx": nginx }))
}

/// A thousand calls a second of `ask`, which is given the number of each.
fn rush(what: &str, span: Duration, ask: &(dyn Fn(&Agent, u32) -> Result<()> + Sync)) -> Result<Value> {
    let began = Instant::now() + Duration::from_millis(200);
    let answered = std::thread::scope(|scope| {
        let start = |caller| scope.spawn(move || call(caller, began, span, ask));
        let callers: Vec<_> = (0..CALLERS).map(start).collect();
        callers.into_iter().map(|caller| caller.join().ok().context("a caller panicked")?).collect::<Result<Vec<_>>>()
    });
    let wall = began.elapsed().as_secs_f64();
    let mut took: Vec<f64> = answered?.into_iter().flatten().collect();
    took.sort_by(f64::total_cmp);
    let part = |share: f64| took.get(((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1)));
    let a_second = took.len() as f64 / wall;
    eprintln!(
        "  {what}: {} answers, {a_second:.0} a second, p99 {:.2} ms",
        took.len(),
        1e3 * part(0.99).unwrap_or(&0.0)
    );
    Ok(json!({ "a_second": a_second, "p50_s": part(0.5), "p99_s": part(0.99), "max_s": took.last() }))
}

/// One caller's share, each at its own time; what each took, from when it was due.
fn call(caller: u32, began: Instant, span: Duration, ask: &dyn Fn(&Agent, u32) -> Result<()>) -> Result<Vec<f64>> {
    let agent = Agent::config_builder().http_status_as_error(false).build().into();
    let every = Duration::from_secs(1) * CALLERS / A_SECOND;
    let mut due = began + every * caller / CALLERS;
    let mut took = Vec::new();
    while due < began + span {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        ask(&agent, took.len() as u32)?;
        took.push(due.elapsed().as_secs_f64());
        due += every;
    }
    Ok(took)
}

/// One hook, of either server in turn.
fn ask(agent: &Agent, api: &str, number: u32) -> Result<()> {
    if number.is_multiple_of(2) {
        let sent =
            agent.post(format!("{api}/hooks/main")).content_type("application/x-www-form-urlencoded").send(DENIED)?;
        return answer(sent, 403);
    }
    let body = json!({
        "ip": "127.0.0.1", "user": "", "password": "", "action": "publish", "path": format!("live/free-{number}"),
        "protocol": "rtmp", "id": null, "query": "",
    });
    answer(agent.post(format!("{api}/hooks/second")).content_type("application/json").send(body.to_string())?, 200)
}

fn answer(mut answer: Response<Body>, expected: u16) -> Result<()> {
    let status = answer.status().as_u16();
    answer.body_mut().read_to_string()?;
    ensure!(status == expected, "answered {status} where {expected} was right");
    Ok(())
}
