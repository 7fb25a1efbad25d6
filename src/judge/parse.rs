//! From a rule as it is written to one that makes sense, or to what is wrong with it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::decision::Verdict;
use crate::finding::Opinion;
use crate::judge::rule::{BankTest, LabelTest, ReportTest, Rule, StateTest};
use crate::judge::{Config, EVIDENCE_LIMIT, PolicyError, RuleConfig, Scope, StateWord};
use crate::report::Category;

/// Every opinion that may count, surest first.
const OPINIONS: [Opinion; 3] = [Opinion::Positive, Opinion::InvestigationSeed, Opinion::Disputed];

/// The farthest that two hashes can be apart.
const BITS: u32 = 256;

/// Makes sense of a rule.
///
/// # Errors
/// The first thing that is wrong with it, with what to change.
pub(super) fn rule(raw: &RuleConfig) -> Result<Rule, PolicyError> {
    let RuleConfig { name, mode, class, after, within, verdict, lasts, deny, .. } = raw.clone();
    if name.trim().is_empty() {
        return Err(PolicyError::Nameless);
    }
    if verdict == Verdict::Clear {
        return Err(PolicyError::Clear { rule: name });
    }
    if raw.bank.is_none() && raw.label.is_none() && raw.reports.is_none() && raw.state.is_none() {
        return Err(PolicyError::NoSubject { rule: name });
    }
    let of = Of(raw);
    let (bank, label) = (of.bank()?, of.label()?);
    let (reports, state) = (of.reports()?, of.state()?);
    let windowed = bank.is_some() || label.is_some() || reports.is_some();
    of.belongs("within", within.is_some(), windowed)?;
    let within = if windowed { of.longer("within", of.needs("within", within)?)? } else { Duration::ZERO };
    of.belongs("lasts", lasts.is_some(), verdict != Verdict::Watch)?;
    of.belongs("deny", deny.is_some(), verdict.closes())?;
    let lasts = lasts.map(|lasts| of.longer("lasts", lasts)).transpose()?;
    let class = class.map(|class| of.some("class", class)).transpose()?.unwrap_or_default();
    if after == Some(Verdict::Clear) {
        return Err(of.range("after", "watch, hold, cut or ban"));
    }
    let scope = deny.map(|deny| of.some("deny", deny)).transpose()?.map(Scope::from_iter).unwrap_or_default();
    Ok(Rule {
        name: name.into(),
        verdict,
        mode,
        lasts,
        scope,
        within,
        class: class.into_iter().map(Into::into).collect::<BTreeSet<_>>(),
        after,
        bank,
        label,
        reports,
        state,
    })
}

/// Whether a rule closes on evidence that is too thin for it, as far as `config` does not allow that.
pub(super) fn too_thin(rule: &Rule, config: &Config) -> Result<(), PolicyError> {
    let (name, verdict) = (rule.name.to_string(), rule.verdict);
    if !verdict.closes() || rule.bank.is_some() {
        return Ok(());
    }
    if rule.label.is_some() {
        let error = PolicyError::ClassifierCut { rule: name, verdict };
        return config.allow_classifier_cut.then_some(()).ok_or(error);
    }
    if rule.state.is_some() {
        let error = PolicyError::StateCut { rule: name, verdict };
        return config.allow_state_cut.then_some(()).ok_or(error);
    }
    Err(PolicyError::ReportsCut { rule: name, verdict })
}

/// A rule that is made sense of.
struct Of<'raw>(&'raw RuleConfig);

impl Of<'_> {
    fn bank(&self) -> Result<Option<BankTest>, PolicyError> {
        let RuleConfig { bank, opinion, within_bits, pictures, aligned, verdict, .. } = self.0;
        let there = bank.is_some();
        self.belongs("opinion", opinion.is_some(), there)?;
        self.belongs("within_bits", within_bits.is_some(), there)?;
        self.belongs("pictures", pictures.is_some(), there)?;
        self.belongs("aligned", aligned.is_some(), there)?;
        let Some(bank) = bank else { return Ok(None) };
        if pictures.is_none() && aligned.is_none() {
            return Err(PolicyError::NoCount { rule: self.name() });
        }
        let opinions = match opinion {
            None if verdict.closes() => vec![Opinion::Positive],
            None => OPINIONS.to_vec(),
            Some(asked) => self.opinions(asked)?,
        };
        if within_bits.is_some_and(|bits| bits > BITS) {
            return Err(self.range("within_bits", &format!("from 0 to {BITS}")));
        }
        let pictures = self.count("pictures", 1, pictures.unwrap_or(1))?;
        // One picture alone is in step with anything.
        let aligned = aligned.map(|pictures| self.count("aligned", 2, pictures)).transpose()?;
        let bank = (bank != "*").then(|| bank.as_str().into());
        Ok(Some(BankTest { bank, opinions, within_bits: *within_bits, pictures, aligned }))
    }

    /// Nobody loses their stream over content that its own provider does not vouch for.
    fn opinions(&self, asked: &[Opinion]) -> Result<Vec<Opinion>, PolicyError> {
        let doubted = asked.iter().any(|opinion| *opinion != Opinion::Positive);
        if self.0.verdict.closes() && doubted {
            return Err(PolicyError::DoubtedCut { rule: self.name(), verdict: self.0.verdict });
        }
        if asked.is_empty() || asked.contains(&Opinion::Negative) {
            return Err(self.range("opinion", "some of positive, investigation_seed, disputed"));
        }
        Ok(OPINIONS.into_iter().filter(|opinion| asked.contains(opinion)).collect())
    }

    fn label(&self) -> Result<Option<LabelTest>, PolicyError> {
        let RuleConfig { label, model, above, share, at_least, .. } = self.0;
        let there = label.is_some();
        self.belongs("model", model.is_some(), there)?;
        self.belongs("above", above.is_some(), there)?;
        self.belongs("share", share.is_some(), there)?;
        self.belongs("at_least", at_least.is_some(), there)?;
        let Some(label) = label else { return Ok(None) };
        let above = self.needs("above", *above)?;
        if !(0.0..1.0).contains(&above) {
            return Err(self.range("above", "from 0 to less than 1"));
        }
        let share = self.needs("share", *share)?;
        if !(0.0..1.0).contains(&share) {
            return Err(self.range("share", "from 0 to less than 1"));
        }
        let at_least = self.count("at_least", 1, self.needs("at_least", *at_least)?)?;
        let model = model.as_deref().map(Into::into);
        Ok(Some(LabelTest { label: label.as_str().into(), model, above, share, at_least }))
    }

    fn reports(&self) -> Result<Option<ReportTest>, PolicyError> {
        let RuleConfig { reports, category, imminent, .. } = self.0;
        self.belongs("category", category.is_some(), reports.is_some())?;
        self.belongs("imminent", *imminent, reports.is_some())?;
        let Some(weight) = *reports else { return Ok(None) };
        if !(weight > 0.0 && weight <= EVIDENCE_LIMIT as f64) {
            return Err(self.range("reports", &format!("above 0, up to {EVIDENCE_LIMIT}")));
        }
        let known = |word: &str| Category::ALL.map(Category::word).into_iter().find(|known| *known == word);
        let unknown = || self.range("category", &format!("one of {}", Category::ALL.map(Category::word).join(", ")));
        let category = category.as_deref().map(|word| known(word).ok_or_else(unknown)).transpose()?.map(Into::into);
        Ok(Some(ReportTest { weight, category, imminent: *imminent }))
    }

    fn state(&self) -> Result<Option<StateTest>, PolicyError> {
        let RuleConfig { state, reason, lasting, .. } = self.0;
        self.belongs("lasting", lasting.is_some(), state.is_some())?;
        self.belongs("reason", reason.is_some(), *state == Some(StateWord::Uninspectable))?;
        let Some(state) = *state else { return Ok(None) };
        let lasting = self.needs("lasting", *lasting)?;
        Ok(Some(StateTest { state, reason: *reason, lasting }))
    }

    fn name(&self) -> String {
        self.0.name.clone()
    }

    fn range(&self, key: &'static str, must: &str) -> PolicyError {
        PolicyError::Range { rule: self.name(), key, must: must.to_owned() }
    }

    /// A key that means something only where `may` is true.
    fn belongs(&self, key: &'static str, given: bool, may: bool) -> Result<(), PolicyError> {
        if given && !may { Err(PolicyError::Stray { rule: self.name(), key }) } else { Ok(()) }
    }

    fn needs<T>(&self, key: &'static str, value: Option<T>) -> Result<T, PolicyError> {
        value.ok_or_else(|| PolicyError::Missing { rule: self.name(), key })
    }

    fn longer(&self, key: &'static str, span: Duration) -> Result<Duration, PolicyError> {
        if span.is_zero() { Err(self.range(key, "longer than zero")) } else { Ok(span) }
    }

    fn some<T>(&self, key: &'static str, list: Vec<T>) -> Result<Vec<T>, PolicyError> {
        if list.is_empty() { Err(self.range(key, "left out, or name at least one")) } else { Ok(list) }
    }

    fn count(&self, key: &'static str, least: usize, count: usize) -> Result<usize, PolicyError> {
        let fits = (least..=EVIDENCE_LIMIT).contains(&count);
        fits.then_some(count).ok_or_else(|| self.range(key, &format!("from {least} to {EVIDENCE_LIMIT}")))
    }
}
