//! Recognises banked content: the perceptual hash of a picture against every bank in force.
//!
//! A benign bank vetoes: a picture that matches one gives no match of any bank, so a title card that a harmful video
//! shares with innocent ones is no evidence.

use std::sync::Arc;

use super::{DetectError, Detector, Look};
use crate::bank::{Bank, Banks, InForce, Kind, Signal};
use crate::finding::{Match, Observation, Opinion};
use crate::hash::{Hasher, Pdq};
use crate::picture::Picture;

/// Compares each picture with the banks in force.
#[derive(Debug)]
pub struct Known {
    banks: Arc<InForce>,
    asked: Asked,
    hasher: Hasher,
}

/// Which banks a picture is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Those in force when it arrived.
    InForce,
    /// All that were given, for whoever gave them chose them.
    All,
}

impl Known {
    /// A detector of what is in `banks`.
    pub fn new(banks: Arc<InForce>) -> Self {
        Self { banks, asked: Asked::InForce, hasher: Hasher::new() }
    }

    /// A detector of what is in `banks`, be they in force or not.
    pub fn of_all(banks: Banks) -> Self {
        Self { banks: Arc::new(InForce::new(banks)), asked: Asked::All, hasher: Hasher::new() }
    }
}

impl Detector for Known {
    fn name(&self) -> &'static str {
        "known"
    }

    /// For each harmful bank that is asked, those in force when the picture arrived or all, the nearest signal within the bank's distance, unless the
    /// picture shows less than the bank asks for, or matches a benign bank. Seeds of investigations and signals set aside
    /// come after all others.
    fn inspect(&mut self, picture: &Picture) -> Result<Look, DetectError> {
        let sequence = picture.sequence;
        let pdq = self.hasher.picture(picture).map_err(|source| DetectError::Picture { sequence, source })?;
        let banks = self.banks.current();
        let matches = |kind| {
            let banks = banks.iter().map(AsRef::as_ref).filter(move |bank: &&Bank| bank.settings().kind == kind);
            let asked = |bank: &&Bank| self.asked == Asked::All || bank.settings().in_force(picture.arrived);
            banks.filter(asked).filter_map(|bank| matched(bank, &pdq))
        };
        let observations: Vec<_> = matches(Kind::Harmful).map(Observation::Match).collect();
        // Few pictures match anything, so few are compared with the benign banks.
        let veto = if observations.is_empty() { None } else { matches(Kind::Benign).next() };
        Ok(match veto {
            Some(veto) => Look { observations: Vec::new(), vetoed_by: Some(veto.bank), pdq: Some(pdq) },
            None => Look { observations, vetoed_by: None, pdq: Some(pdq) },
        })
    }
}

fn matched(bank: &Bank, pdq: &Pdq) -> Option<Match> {
    if pdq.quality < bank.settings().min_quality {
        return None;
    }
    let max_distance = bank.settings().max_distance;
    let decides =
        |signal: &Signal| signal.opinion != Opinion::InvestigationSeed && bank.quarantined(signal.id).is_none();
    let nearest = bank.nearest(&pdq.hash, max_distance)?;
    // One that asks for a look only must not stand before one that says what it is.
    let (signal, distance) = if decides(&nearest.0) {
        nearest
    } else {
        bank.nearest_where(&pdq.hash, max_distance, decides).unwrap_or(nearest)
    };
    Some(Match {
        bank: bank.name().shared(),
        bank_revision: bank.revision(),
        signal: signal.id,
        distance,
        quality: pdq.quality,
        opinion: signal.opinion,
        provenance: signal.provenance.to_string().into(),
        banked_at: signal.banked_at,
        quorum: bank.settings().quorum,
        at_most: bank.settings().at_most,
        quarantined: bank.quarantined(signal.id).is_some(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::bank::Settings;
    use crate::clock::Timestamp;
    use crate::decision::Verdict;
    use crate::hash::PdqHash;
    use crate::picture::{ColourRange, Plane};

    fn known(banks: &[Arc<Bank>]) -> Known {
        Known::new(Arc::new(InForce::new(banks.into())))
    }

    /// A picture of blotches, the same for the same seed.
    fn picture(seed: u64) -> Picture {
        let blotch = |x: usize, y: usize| {
            let mixed = (seed + 1).wrapping_mul((x as u64 / 16 + 1) * 0x9e37_79b9 + (y as u64 / 16 + 1) * 0x85eb_ca6b);
            (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes()[0]
        };
        let data: Vec<u8> = (0..144).flat_map(|y| (0..256).map(move |x| blotch(x, y))).collect();
        Picture {
            sequence: seed,
            pts: None,
            arrived: Timestamp::ZERO,
            luma: Plane { data: Bytes::from(data), width: 256, height: 144, stride: 256 },
            chroma: None,
            range: ColourRange::Limited,
        }
    }

    fn hash_of(seed: u64) -> PdqHash {
        Hasher::new().picture(&picture(seed)).unwrap().hash
    }

    fn away(hash: PdqHash, bits: u32) -> PdqHash {
        let [a, b, c, d] = *hash.words();
        PdqHash::from_words([a ^ ((1 << bits) - 1), b, c, d])
    }

    fn bank(name: &str, settings: Settings, hashes: &[PdqHash]) -> Arc<Bank> {
        let signal = |(id, hash): (u64, &PdqHash)| Signal {
            id,
            hash: *hash,
            opinion: Opinion::Disputed,
            banked_at: Some(Duration::from_secs(id)),
            ..Signal::example()
        };
        let signals = (1..).zip(hashes).map(signal).collect();
        Arc::new(Bank::new(name.parse().unwrap(), settings, 4, Timestamp::ZERO, signals))
    }

    fn seen(banks: &[Arc<Bank>], seed: u64) -> Vec<Match> {
        let observations = known(banks).inspect(&picture(seed)).unwrap().observations;
        let matches = observations.into_iter().map(|observation| match observation {
            Observation::Match(found) => found,
            other => panic!("{other:?}"),
        });
        matches.collect()
    }

    #[test]
    fn a_banked_picture_is_recognised_with_all_that_explains_it() {
        let hashes = [hash_of(1), away(hash_of(2), 6), away(hash_of(2), 3)];
        let found = seen(&[bank("demo", Settings::default(), &hashes)], 2);
        assert_eq!(
            found,
            [Match {
                bank: "demo".into(),
                bank_revision: 4,
                signal: 3,
                distance: 3,
                quality: 100,
                opinion: Opinion::Disputed,
                provenance: format!("clip.mp4 sha256:{}", "ab".repeat(32)).into(),
                banked_at: Some(Duration::from_secs(3)),
                quorum: 1,
                at_most: Verdict::Ban,
                quarantined: false,
            }]
        );
    }

    #[test]
    fn what_asks_for_a_look_only_does_not_stand_before_what_says_what_it_is() {
        let signal = |id, bits, opinion| Signal { id, hash: away(hash_of(2), bits), opinion, ..Signal::example() };
        for (signals, expected) in [
            (vec![signal(1, 0, Opinion::InvestigationSeed), signal(2, 0, Opinion::Positive)], 2),
            (vec![signal(1, 0, Opinion::InvestigationSeed), signal(2, 20, Opinion::Positive)], 2),
            (vec![signal(1, 0, Opinion::InvestigationSeed), signal(2, 32, Opinion::Positive)], 1),
            (vec![signal(1, 0, Opinion::Negative), signal(2, 2, Opinion::Positive)], 1),
            (vec![signal(1, 0, Opinion::Disputed), signal(2, 0, Opinion::Positive)], 1),
            (vec![signal(1, 2, Opinion::Positive), signal(2, 0, Opinion::InvestigationSeed)], 1),
        ] {
            let bank = Bank::new("demo".parse().unwrap(), Settings::default(), 4, Timestamp::ZERO, signals);
            let found = seen(&[Arc::new(bank)], 2);
            assert_eq!(found.iter().map(|found| found.signal).collect::<Vec<_>>(), [expected]);
        }
    }

    #[test]
    fn an_unknown_picture_is_not() {
        assert_eq!(seen(&[bank("demo", Settings::default(), &[hash_of(1)])], 2), []);
        assert_eq!(seen(&[], 2), []);
    }

    #[test]
    fn every_bank_answers_for_itself_and_by_its_own_distance() {
        let near = |max_distance| Settings { max_distance, ..Settings::default() };
        let hash = away(hash_of(2), 20);
        let banks =
            vec![bank("wide", near(20), &[hash]), bank("narrow", near(19), &[hash]), bank("b", near(31), &[hash])];
        let found: Vec<_> = seen(&banks, 2).into_iter().map(|found| (found.bank.to_string(), found.distance)).collect();
        assert_eq!(found, [("wide".to_owned(), 20), ("b".to_owned(), 20)]);
    }

    #[test]
    fn a_benign_bank_vetoes_what_it_matches_and_nothing_else() {
        let benign = |max_distance| Settings { kind: Kind::Benign, max_distance, ..Settings::default() };
        let harmful = || bank("demo", Settings::default(), &[hash_of(1), hash_of(2)]);
        let card = [away(hash_of(2), 20)];
        for (settings, expected) in [
            (benign(20), 0),
            (benign(19), 1),
            (Settings { enabled: false, ..benign(20) }, 1),
            (Settings { until: Some(Timestamp::ZERO), ..benign(20) }, 1),
        ] {
            let found = seen(&[bank("cards", settings.clone(), &card), harmful()], 2);
            assert_eq!(found.len(), expected, "{settings:?}");
            assert!(found.iter().all(|found| &*found.bank == "demo"));
            let veto = |seed| {
                let banks = [bank("cards", settings.clone(), &card), harmful()];
                known(&banks).inspect(&picture(seed)).unwrap().vetoed_by
            };
            assert_eq!(veto(2).as_deref(), (expected == 0).then_some("cards"), "and says so");
            assert_eq!(veto(1), None, "{settings:?}");
            assert_eq!(veto(3), None, "nothing matched, so nothing was vetoed");
            assert_eq!(seen(&[harmful(), bank("cards", settings, &card)], 1).len(), 1);
        }
    }

    #[test]
    fn a_bank_that_is_not_in_force_when_the_picture_arrives_matches_nothing() {
        let at = |millis| {
            let settings = Settings { until: Some(Timestamp::from_millis(50)), ..Settings::default() };
            let banks = [bank("demo", settings, &[hash_of(2)])];
            let picture = Picture { arrived: Timestamp::from_millis(millis), ..picture(2) };
            known(&banks).inspect(&picture).unwrap().observations.len()
        };
        assert_eq!((at(49), at(50), at(51)), (1, 0, 0));
        let disabled = [bank("demo", Settings { enabled: false, ..Settings::default() }, &[hash_of(2)])];
        assert_eq!(seen(&disabled, 2), []);
        let asked = Known::of_all(disabled.into()).inspect(&picture(2)).unwrap();
        assert_eq!(asked.observations.len(), 1, "unless all are asked");
    }

    #[test]
    fn a_picture_that_shows_too_little_matches_nothing() {
        let mut flat = picture(0);
        flat.luma.data = Bytes::from(vec![90; 256 * 144]);
        let hash = Hasher::new().picture(&flat).unwrap().hash;
        let inspect = |min_quality| {
            let settings = Settings { min_quality, ..Settings::default() };
            known(&[bank("demo", settings, &[hash])]).inspect(&flat).unwrap().observations.len()
        };
        assert_eq!((inspect(1), inspect(0)), (0, 1));
    }

    #[test]
    fn a_picture_cut_short_is_an_error_and_the_next_one_is_not() {
        let mut cut = picture(1);
        cut.luma.data = cut.luma.data.slice(..1000);
        let mut known = known(&[]);
        let refused = known.inspect(&cut).unwrap_err();
        assert_eq!((refused.kind(), refused.is_retryable()), ("picture_cut_short", false));
        assert!(known.inspect(&picture(1)).is_ok());
    }
}
