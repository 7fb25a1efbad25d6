//! What is read of files as others write them, and what of those that are not quite that.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn hash_of(n: u64) -> PdqHash {
    PdqHash::from_words([n, !n, u64::MAX, 0])
}

fn read_text(format: Format, text: &str) -> Read {
    read(format, text.as_bytes(), NOW).unwrap()
}

fn listed(read: &Read) -> Vec<&Listed> {
    let signals = read.items.iter().filter_map(|item| match item {
        Item::Signal(listed) => Some(listed),
        Item::Anew(_) => None,
    });
    signals.collect()
}

fn faults(read: &Read) -> Vec<(Place, &str)> {
    read.faults.iter().map(|fault| (fault.place, fault.reason.as_str())).collect()
}

/// What stands at the end: each record with its hashes.
fn records(read: &Read) -> Vec<String> {
    let words = read.items.iter().map(|item| match item {
        Item::Signal(listed) => format!("{} {}", listed.record.as_deref().unwrap_or("-"), listed.hash.words()[0]),
        Item::Anew(record) => format!("{record} anew"),
    });
    words.collect()
}

#[test]
fn a_plain_list_tells_its_bad_lines_by_number() {
    let (a, b) = (hash_of(1), hash_of(2));
    let text = format!("# ours\n{a}\r\n\n  {}\nnonsense\n{a}0\n", b.to_string().to_uppercase());
    let read = read_text(Format::Hashes, &text);
    assert_eq!(
        listed(&read).iter().map(|l| (l.place, l.hash)).collect::<Vec<_>>(),
        [(Place::Line(2), a), (Place::Line(4), b)]
    );
    let no_hash = "a PDQ hash is 64 hexadecimal digits, and this text is not: compare it with where it was copied from";
    assert_eq!(faults(&read), [(Place::Line(5), no_hash), (Place::Line(6), no_hash)]);
}

#[test]
fn a_table_needs_a_hash_and_takes_the_rest_as_it_comes() {
    let (a, b) = (hash_of(1), hash_of(2));
    let text = format!(
        "\u{feff}colour,opinion,hash,timestamp,quality\nred,disputed,{a},1.5,90\nblue,,{b},,\nred,sure,{a},,\nred,,{a},soon,\n\
         red,,{a},-1,\nred,,{a},,101\nred,,x,,\nshort\n\"a\nb\",positive,{b},0,0\n"
    );
    let read = read_text(Format::Csv, &text);
    let first = listed(&read)[0];
    assert_eq!((first.hash, first.quality, first.at), (a, Some(90), Some(Duration::from_millis(1500))));
    assert_eq!(first.opinion, Some(Opinion::Disputed));
    assert_eq!(*listed(&read)[1], Listed::bare(Place::Line(3), b));
    assert_eq!(listed(&read)[2].place, Place::Line(10));
    let lines: Vec<_> = read.faults.iter().map(|fault| fault.place).collect();
    assert_eq!(lines, [4, 5, 6, 7, 8, 9].map(Place::Line));
    for text in ["", "a,b\n1,2\n", "{}"] {
        assert!(super::read(Format::Csv, text.as_bytes(), NOW).is_err(), "{text}");
    }
}

#[test]
fn what_threatexchange_prints_is_a_table_too() {
    let (a, b) = (hash_of(1), hash_of(2));
    let text = format!(
        "collab,signal_type,signal_str,category,tags\nours,pdq,{a},INVESTIGATION_SEED,x y\nours,pdq,{b},POSITIVE_CLASS,\n\
         ours,video_md5,0123,POSITIVE_CLASS,\n"
    );
    let read = read_text(Format::Csv, &text);
    let opinions: Vec<_> = listed(&read).iter().map(|listed| listed.opinion.unwrap()).collect();
    assert_eq!(opinions, [Opinion::InvestigationSeed, Opinion::Positive]);
    assert_eq!((read.other, read.faults.len()), (1, 0));
}

#[test]
fn vpdq_comes_in_two_orders_and_as_json_in_two_shapes() {
    let (a, b) = (hash_of(1), hash_of(2));
    let expected = [(a, Some(100), Some(Duration::ZERO)), (b, Some(98), Some(Duration::from_millis(1040)))];
    let kept = |read: &Read| listed(read).iter().map(|l| (l.hash, l.quality, l.at)).collect::<Vec<_>>();
    for (format, text) in [
        (Format::Vpdq, format!("0,100,{a},0.000\n1,98,{b},1.040\n")),
        (Format::Vpdq, format!("0,{a},100,0\n1,{b},98,1.04\n")),
        (Format::VpdqJson, format!(r#"["{a},100,0.000", "{b},98,1.040"]"#)),
        (
            Format::VpdqJson,
            format!(
                r#"{{"0":{{"quality":100,"hash":"{a}","timestamp":0.0}},"1":{{"quality":98,"hash":"{b}","timestamp":1.04}}}}"#
            ),
        ),
        (Format::ThreatExchange, format!("vpdq [\"{a},100,0.0\",\"{b},98,1.04\"]\nraw_text hello\n")),
    ] {
        let read = read_text(format, &text);
        assert_eq!(kept(&read), expected, "{text}");
        assert_eq!(read.faults, []);
        assert_eq!(read.other, usize::from(format == Format::ThreatExchange));
    }
    let bad = format!("x,100,{a},0\n0,{a},0\n0,101,{a},0\n0,100,{a},NaN\n2,100,{a},0\n");
    let read = read_text(Format::Vpdq, &bad);
    assert_eq!((listed(&read).len(), read.faults.len()), (1, 4));
    for (text, faults) in [(r#"["x,1,0"]"#, 1), (r#"[7,{"hash":1}]"#, 2), ("[]", 0)] {
        assert_eq!(read_text(Format::VpdqJson, text).faults.len(), faults, "{text}");
    }
    for text in ["", "7", "[", "\"a\""] {
        assert!(super::read(Format::VpdqJson, text.as_bytes(), NOW).is_err(), "{text}");
    }
}

#[test]
fn contents_of_hma_are_in_force_or_void() {
    let content = |id: u64, until: &str, n: u64| {
        format!(
            r#"{{"id":{id},"disable_until_ts":{until},"collab_metadata":{{}},"original_media_uri":null,
            "bank":{{"name":"BAD","matching_enabled_ratio":1.0}},"signals":{{"pdq":"{}","video_md5":"00"}}}}"#,
            hash_of(n)
        )
    };
    let all = [content(1, "1", 1), content(2, "0", 2), content(3, "1900000000", 3), content(4, "1700000000", 4)];
    let expected =
        ["hma:BAD/1 anew", "hma:BAD/1 1", "hma:BAD/2 anew", "hma:BAD/3 anew", "hma:BAD/4 anew", "hma:BAD/4 4"];
    for text in [format!("[{}]", all.join(",")), all.join("\n"), format!(r#"{{"contents":[{}]}}"#, all.join(","))] {
        let read = read_text(Format::Hma, &text);
        assert_eq!(records(&read), expected);
        assert_eq!((read.faults.len(), read.other), (0, 2));
    }
}

#[test]
fn one_bad_record_costs_no_other() {
    let good = format!(r#"{{"id":1,"hash_digest":"{}","algorithm":"PDQ"}}"#, hash_of(1));
    let bad = r#"{"id":"x"}"#;
    let wrong = r#"{"id":3,"hash_digest":"123","algorithm":"PDQ"}"#;
    for (text, places) in [
        (format!("[{bad},{good},{wrong}]"), [Place::Record(1), Place::Record(3)]),
        (format!("{{cut\n{good}\n{wrong}\n"), [Place::Line(1), Place::Line(3)]),
    ] {
        let read = read_text(Format::Tat, &text);
        assert_eq!(records(&read), ["tat:1 anew", "tat:1 1"], "{text}");
        assert_eq!(read.faults.iter().map(|fault| fault.place).collect::<Vec<_>>(), places);
    }
    assert!(super::read(Format::Tat, b"[{\"id\":", NOW).is_err());
}

#[test]
fn deleted_records_of_tech_against_terrorism_are_void() {
    let entry = |id: u64, algorithm: &str, deleted: bool| {
        format!(
            r#"{{"hash_digest":"{}","algorithm":"{algorithm}","ideology":"far-right","file_type":"mp4","deleted":{deleted},"updated_on":1.5,"id":{id}}}"#,
            hash_of(id)
        )
    };
    let page =
        |entries: &[String]| format!(r#"{{"count":2,"next":null,"checkpoint":"x","results":[{}]}}"#, entries.join(","));
    let pages = [page(&[entry(1, "PDQ", false), entry(2, "PDQ", true)]), page(&[entry(3, "MD5", false)])];
    let read = read_text(Format::Tat, &pages.concat());
    assert_eq!(records(&read), ["tat:1 anew", "tat:1 1", "tat:2 anew", "tat:3 anew"]);
    assert_eq!(read.other, 1);
}

#[test]
fn opinions_of_stopncii_follow_what_platforms_said() {
    let record = |n: u64, feedbacks: &str| {
        let shown: Vec<_> =
            feedbacks.split_whitespace().map(|word| format!(r#"{{"feedbackValue":"{word}"}}"#)).collect();
        format!(
            r#"{{"lastModtimestamp":1,"signalType":"ImagePDQ","hashValue":"{}","hashStatus":"Active","caseNumbers":{{}},"CSPFeedbacks":[{}]}}"#,
            hash_of(n),
            shown.join(",")
        )
    };
    let other = r#"{"signalType":"VideoMD5","hashValue":"00","hashStatus":"Active"}"#.to_owned();
    let all = [record(1, ""), record(2, "Blocked"), record(3, "Blocked NotBlocked"), record(4, "NotBlocked"), other];
    let read = read_text(Format::StopNcii, &format!("[{}]", all.join(",")));
    let opinions: Vec<_> = listed(&read).iter().map(|listed| listed.opinion.unwrap()).collect();
    assert_eq!(
        opinions,
        [Opinion::InvestigationSeed, Opinion::Positive, Opinion::Disputed, Opinion::InvestigationSeed]
    );
    assert_eq!((read.other, read.faults.len()), (1, 0));
    let record = listed(&read)[0].record.clone().unwrap();
    assert!(!record.contains(&hash_of(1).to_string()[..8]), "{record}");
}

const NCMEC: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<queryResult xmlns="https://hashsharing.ncmec.org/hashsharing/v2">
    <images count="2" maxTimestamp="2017-10-24T15:10:00Z">
        <image>
            <member id="42">An &amp; Member</member>
            <timestamp>2017-10-24T15:00:00Z</timestamp>
            <id>image1</id>
            <classification>A1</classification>
            <fingerprints><md5>00</md5><pdq>
                HASH
            </pdq></fingerprints>
        </image>
        <image><id>image2</id></image>
        <image><member id="42"/><id>image3</id><fingerprints><pdq>123</pdq></fingerprints></image>
        <deletedImage><member id="43">B</member><id>image4</id></deletedImage>
    </images>
    <videos count="1" maxTimestamp="2017-10-24T15:20:00Z">
        <video><member id="42">A</member><id>video1</id><fingerprints><md5>00</md5></fingerprints></video>
        <deletedVideo><member id="42">A</member><id>video4</id></deletedVideo>
    </videos>
    <paging><next>/v2/entries?from=x&amp;to=y</next></paging>
</queryResult>
"#;

#[test]
fn entries_of_ncmec_are_read_and_deleted_ones_are_void() {
    let xml = NCMEC.replace("HASH", &hash_of(1).to_string());
    let read = read_text(Format::Ncmec, &xml);
    assert_eq!(
        records(&read),
        [
            "ncmec:42/image1 anew",
            "ncmec:42/image1 1",
            "ncmec:42/image3 anew",
            "ncmec:43/image4 anew",
            "ncmec:42/video1 anew",
            "ncmec:42/video4 anew"
        ]
    );
    assert_eq!(read.faults.iter().map(|fault| fault.place).collect::<Vec<_>>(), [Place::Record(2), Place::Record(3)]);
    assert_eq!(read.other, 2);
    // Cut anywhere: never more than the whole says, and never without a word about it.
    for end in (0..xml.trim_end().len()).filter(|end| xml.is_char_boundary(*end)) {
        match super::read(Format::Ncmec, &xml.as_bytes()[..end], NOW) {
            Ok(part) => assert!(part.items.len() <= read.items.len() && !part.faults.is_empty(), "at {end}"),
            Err(FormatError::Other { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    for text in ["", "<html></html>", "hello", "{}"] {
        assert!(super::read(Format::Ncmec, text.as_bytes(), NOW).is_err(), "{text}");
    }
}

#[test]
fn a_format_is_known_by_its_name() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let said = "gif".parse::<Format>().unwrap_err().to_string();
    assert!(said.starts_with("`gif` is no format: use one of hashes, csv"), "{said}");
}

proptest! {
    #[test]
    fn rubbish_is_read_without_fuss(bytes: Vec<u8>, text: String) {
        for format in Format::ALL {
            read(format, &bytes, NOW).ok();
            read(format, text.as_bytes(), NOW).ok();
        }
    }
}
