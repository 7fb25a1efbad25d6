//! The timeline as a picture: what each stream showed, what Sluicegate saw of it, and the moments of the cut.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::events::is;
use serde_json::Value;

use crate::story::{Moments, at, seconds};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 1170.0;
const THUMBNAIL: (f64, f64) = (96.0, 54.0);
const PER_SECOND: f64 = 5.0;

/// Draws the story as an SVG file that needs nothing beside it.
pub(crate) fn draw(
    moments: &Moments,
    events: &[Value],
    turning: &Path,
    calm: &Path,
    [incident, innocent]: [&str; 2],
) -> Result<String> {
    let span = seconds(moments.started, moments.refused) + 3.0;
    let scene = Scene { moments, span };
    let mut svg = String::new();
    header(&mut svg, moments)?;
    let cut = seconds(moments.started, moments.gone);
    lane(&mut svg, &scene, 118.0, incident, "cut off and refused", &thumbnails(turning)?, Some(cut))?;
    findings(&mut svg, &scene, 200.0, events, incident)?;
    lane(&mut svg, &scene, 330.0, innocent, "untouched", &thumbnails(calm)?, None)?;
    axis(&mut svg, &scene, 408.0)?;
    steps(&mut svg, moments, 450.0)?;
    svg.push_str("</svg>\n");
    Ok(svg)
}

struct Scene<'a> {
    moments: &'a Moments,
    span: f64,
}

impl Scene<'_> {
    fn x(&self, second: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * second / self.span
    }

    fn x_of(&self, when: SystemTime) -> f64 {
        self.x(seconds(self.moments.started, when))
    }
}

fn header(svg: &mut String, moments: &Moments) -> Result<()> {
    let total = seconds(moments.published, moments.gone);
    write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 700" font-family="DejaVu Sans, Helvetica, sans-serif" font-size="13" fill="#1f2933">
<rect width="{WIDTH}" height="700" fill="#fbfaf7"/>
<text x="30" y="44" font-size="24" font-weight="bold">A live stream, recognised and cut off in {total:.2} s</text>
<text x="30" y="70" fill="#52606d">nginx-rtmp, two publishers in real time, one keyframe every 2 s; the banked clip was re-encoded at another size, bit rate and phase</text>
<defs><filter id="grey"><feColorMatrix type="saturate" values="0"/></filter></defs>
"##
    )?;
    Ok(())
}

fn lane(
    svg: &mut String,
    scene: &Scene,
    top: f64,
    name: &str,
    fate: &str,
    thumbnails: &[String],
    cut: Option<f64>,
) -> Result<()> {
    writeln!(svg, r#"<text x="30" y="{}" font-weight="bold">{name}</text>"#, top + 24.0)?;
    writeln!(svg, r##"<text x="30" y="{}" fill="#52606d" font-size="12">{fate}</text>"##, top + 42.0)?;
    let step = (THUMBNAIL.0 + 2.0) / (scene.x(1.0) - scene.x(0.0));
    let mut second = 0.0_f64;
    while scene.x(second) + THUMBNAIL.0 <= RIGHT && !thumbnails.is_empty() {
        let picture = &thumbnails[((second * PER_SECOND) as usize) % thumbnails.len()];
        let style = if cut.is_some_and(|cut| second > cut) { r#" filter="url(#grey)" opacity="0.18""# } else { "" };
        writeln!(
            svg,
            r#"<image x="{:.1}" y="{top}" width="{}" height="{}" preserveAspectRatio="xMidYMid slice"{style} href="data:image/jpeg;base64,{picture}"/>"#,
            scene.x(second),
            THUMBNAIL.0,
            THUMBNAIL.1
        )?;
        second += step;
    }
    if let Some(cut) = cut {
        let (x, published) = (scene.x(cut), scene.x_of(scene.moments.published));
        writeln!(
            svg,
            r##"<rect x="{published:.1}" y="{}" width="{:.1}" height="5" fill="#d64545"/>"##,
            top - 9.0,
            x - published
        )?;
        writeln!(
            svg,
            r##"<line x1="{x:.1}" x2="{x:.1}" y1="{}" y2="{}" stroke="#d64545" stroke-width="3"/>"##,
            top - 18.0,
            top + 60.0
        )?;
        let end = if x > WIDTH * 0.7 { (x - 8.0, "end") } else { (x + 8.0, "start") };
        writeln!(
            svg,
            r##"<text x="{:.1}" y="{}" text-anchor="{}" fill="#d64545" font-weight="bold">cut</text>"##,
            end.0,
            top - 6.0,
            end.1
        )?;
    }
    Ok(())
}

/// A dot for each picture that matched, the higher the closer: the threshold lies at 31 bits.
fn findings(svg: &mut String, scene: &Scene, top: f64, events: &[Value], incident: &str) -> Result<()> {
    let height = 84.0;
    let y = |distance: f64| top + height * distance.min(40.0) / 40.0;
    writeln!(svg, r##"<rect x="{LEFT}" y="{top}" width="{}" height="{height}" fill="#f0ede6"/>"##, RIGHT - LEFT)?;
    writeln!(
        svg,
        r##"<line x1="{LEFT}" x2="{RIGHT}" y1="{0:.1}" y2="{0:.1}" stroke="#9aa5b1" stroke-dasharray="4 4"/>"##,
        y(31.0)
    )?;
    writeln!(
        svg,
        r##"<text x="{}" y="{:.1}" text-anchor="end" font-size="11" fill="#52606d">31 bits: what is further away is no match</text>"##,
        RIGHT - 6.0,
        y(31.0) + 13.0
    )?;
    writeln!(
        svg,
        r#"<text x="30" y="{}" font-size="12">distance to the</text><text x="30" y="{}" font-size="12">bank, in bits</text>"#,
        top + 34.0,
        top + 50.0
    )?;
    for event in events.iter().filter(|event| is(event, "finding", incident)) {
        let (Some(distance), Some(when)) = (event["observation"]["distance"].as_f64(), at(event)) else { continue };
        writeln!(
            svg,
            r##"<circle cx="{:.1}" cy="{:.1}" r="4.5" fill="#d64545" fill-opacity="0.75"/>"##,
            scene.x_of(when),
            y(distance)
        )?;
    }
    Ok(())
}

fn axis(svg: &mut String, scene: &Scene, top: f64) -> Result<()> {
    for second in 0..=scene.span as u32 {
        let x = scene.x(f64::from(second));
        writeln!(svg, r##"<line x1="{x:.1}" x2="{x:.1}" y1="{}" y2="{top}" stroke="#9aa5b1"/>"##, top - 6.0)?;
        if second % 2 == 0 {
            writeln!(
                svg,
                r##"<text x="{x:.1}" y="{}" text-anchor="middle" font-size="11" fill="#52606d">{second} s</text>"##,
                top + 14.0
            )?;
        }
    }
    Ok(())
}

/// The way from the first banked frame to the refusal, enlarged.
fn steps(svg: &mut String, moments: &Moments, top: f64) -> Result<()> {
    let steps = [
        ("first banked frame published", moments.published, "#7b8794"),
        ("first matching access unit received", moments.received, "#7b8794"),
        ("first finding", moments.found, "#cb6e17"),
        ("verdict: cut", moments.decided, "#cb6e17"),
        ("server asked to drop the publisher", moments.asked, "#d64545"),
        ("publisher observed gone", moments.gone, "#d64545"),
        ("publisher tries to come back", moments.retried, "#7b8794"),
        ("refused", moments.refused, "#3f9142"),
    ];
    let total = seconds(moments.published, moments.refused).max(0.001);
    let bar = |when: SystemTime| 430.0 + 640.0 * seconds(moments.published, when) / total;
    writeln!(svg, r#"<text x="30" y="{}" font-weight="bold">From the first banked frame on</text>"#, top + 6.0)?;
    let mut before = moments.published;
    for (row, (what, when, colour)) in steps.into_iter().enumerate() {
        let y = top + 34.0 + 24.0 * row as f64;
        let (from, to) = (bar(before), bar(when));
        writeln!(svg, r#"<text x="410" y="{y}" text-anchor="end">{what}</text>"#)?;
        writeln!(
            svg,
            r#"<rect x="{from:.1}" y="{}" width="{:.1}" height="14" rx="2" fill="{colour}"/>"#,
            y - 11.0,
            (to - from).max(3.0)
        )?;
        writeln!(
            svg,
            r##"<text x="{:.1}" y="{y}" font-size="12" fill="#52606d">{:.3} s</text>"##,
            to.max(from + 3.0) + 8.0,
            seconds(moments.published, when)
        )?;
        before = when;
    }
    Ok(())
}

/// Small JPEGs of the clip, [`PER_SECOND`], in base64.
fn thumbnails(clip: &Path) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let status = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"])
        .arg(clip)
        .args(["-vf", &format!("fps={PER_SECOND},scale=192:-2"), "-q:v", "6"])
        .arg(folder.path().join("%04d.jpg"))
        .status()
        .context("cannot start ffmpeg")?;
    ensure!(status.success(), "ffmpeg could not draw thumbnails of {}", clip.display());
    let mut files: Vec<_> = std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.iter().map(|file| Ok(STANDARD.encode(std::fs::read(file)?))).collect()
}
