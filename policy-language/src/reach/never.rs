//! `never`: no path in the graph of what may pass leads from these to those (CW0306).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use cellwall_policy::By;

use super::{
    classes::Who,
    survey::{Pair, Versions},
};
use crate::{
    Checked, CompileError, PolicySet,
    codes::Code,
    finding::{Problem, Problems},
    model::{Members, Never, Through, Who as Selected},
    place::{Files, Place},
};

/// A workload, or an ID of another trust domain, in an environment.
type Node = (Arc<str>, usize);

/// A step of a path: to whom, and what lets it pass.
type Step = (Node, By);

/// Where a path begins, and its steps.
type Path = (Node, Vec<Step>);

/// Callers that may pass to a callee, somehow and at some time.
struct Incoming {
    pair: Pair,
    who: Who,
    by: By,
}

/// What may pass, found as far as it is asked for.
struct Graph<'a> {
    set: &'a PolicySet,
    versions: Versions<'a>,
    incoming: BTreeMap<Arc<str>, Vec<Incoming>>,
}

/// Takes a set back that breaks one of its invariants, and says which path does.
pub(crate) fn enforced(checked: Checked, files: &Files<'_>) -> Checked {
    let Some(set) = &checked.set else { return checked };
    let mut problems = Problems::default();
    violations(set, files).into_iter().for_each(|problem| problems.push(problem));
    checked.without(problems, files)
}

impl Checked {
    /// The same, without the set where there are problems with it.
    pub(super) fn without(self, problems: Problems, files: &Files<'_>) -> Self {
        let found = problems.into_findings(files).0;
        if found.is_empty() {
            return self;
        }
        let mut findings = self.findings;
        findings.0.extend(found);
        Self { findings, set: None, ..self }
    }
}

/// Each invariant that a path breaks, with a shortest such path.
pub(crate) fn violations(set: &PolicySet, files: &Files<'_>) -> Vec<Problem> {
    if set.never.is_empty() {
        return Vec::new();
    }
    let mut graph = Versions::of_paths(set)
        .map(|versions| Graph { set, versions, incoming: BTreeMap::new() })
        .map_err(|error| error.to_string());
    let broken = |never| {
        let path = match &mut graph {
            Ok(graph) => graph.path(never).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match path {
            Ok(path) => Some(problem(set, files, never, &path?)),
            // What cannot be looked at may break it.
            Err(error) => Some(unknown(never, &error)),
        }
    };
    set.never.iter().filter_map(broken).collect()
}

impl Graph<'_> {
    /// A shortest path from one of these to one of those: the first node, and each step.
    fn path(&mut self, never: &Never) -> Result<Option<Path>, CompileError> {
        let to = self.members(&never.to);
        let from = self.members(&never.from);
        if to.is_disjoint(&from) {
            return self.search(never, &to);
        }
        // Who is among both must not be taken for an end of its own path.
        let paths = to.iter().map(|end| self.search(never, &BTreeSet::from([end.clone()])));
        let paths: Vec<Option<Path>> = paths.collect::<Result<_, _>>()?;
        Ok(paths.into_iter().flatten().min_by_key(|(_, steps)| steps.len()))
    }

    /// Goes back from the ends, breadth first.
    fn search(
        &mut self,
        never: &Never,
        ends: &BTreeSet<Arc<str>>,
    ) -> Result<Option<Path>, CompileError> {
        let environments = self.versions.environments.names.len();
        let all: BTreeSet<Arc<str>> = self.set.workloads().map(Arc::from).collect();
        let mut free: Vec<BTreeSet<Arc<str>>> = vec![&all - ends; environments];
        let mut seen_foreign = BTreeSet::new();
        let mut onward: BTreeMap<Node, Step> = BTreeMap::new();
        let mut waiting: VecDeque<Node> = VecDeque::new();
        for end in ends {
            waiting.extend((0..environments).map(|at| (end.clone(), at)));
        }
        while let Some(node) = waiting.pop_front() {
            self.look_at(&node.0)?;
            for incoming in self.incoming.get(&node.0).into_iter().flatten() {
                if incoming.pair.callee != node.1 {
                    continue;
                }
                let there = incoming.pair.caller;
                let Some(free) = free.get_mut(there) else { continue };
                for name in incoming.callers(free, &mut seen_foreign) {
                    let caller = (name, there);
                    onward.insert(caller.clone(), (node.clone(), incoming.by.clone()));
                    if self.is_meant(&never.from, &caller.0) {
                        return Ok(Some(unrolled(caller, &onward)));
                    }
                    if never.through == Through::Any && !caller.0.contains(':') {
                        waiting.push_back(caller);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Asks the engine who may call this workload.
    fn look_at(&mut self, callee: &Arc<str>) -> Result<(), CompileError> {
        if self.incoming.contains_key(callee) {
            return Ok(());
        }
        let rows = self.versions.about(callee)?.rows.into_iter();
        let incoming = rows.filter_map(|row| {
            let passing = row.answers.iter().flatten().find(|answer| answer.passes())?.by.clone();
            Some(Incoming { pair: row.pair, who: row.who, by: passing })
        });
        self.incoming.insert(callee.clone(), incoming.collect());
        Ok(())
    }

    fn members(&self, who: &Selected) -> BTreeSet<Arc<str>> {
        match &who.members {
            Members::Any => self.set.workloads().map(Arc::from).collect(),
            Members::Some(members) => members
                .iter()
                .filter_map(|number| Some(Arc::from(self.set.workload(*number)?.name.as_str())))
                .collect(),
        }
    }

    fn is_meant(&self, who: &Selected, name: &str) -> bool {
        match self.set.by_name.get(name) {
            Some(number) => who.members.contain(*number),
            // `any` is also whoever is of another trust domain.
            None => matches!(who.members, Members::Any) || who.foreign.contains(name),
        }
    }
}

impl Incoming {
    /// The callers that no path leads on from yet; they are taken.
    fn callers(
        &self,
        free: &mut BTreeSet<Arc<str>>,
        seen_foreign: &mut BTreeSet<Arc<str>>,
    ) -> Vec<Arc<str>> {
        match &self.who {
            Who::These(names) => names.iter().filter_map(|name| free.take(name)).collect(),
            Who::AllBut(names) => {
                let (kept, taken) =
                    std::mem::take(free).into_iter().partition(|it| names.contains(it));
                *free = kept;
                Vec::from_iter::<BTreeSet<_>>(taken)
            }
            Who::Foreign(ids) => {
                ids.iter().filter(|id| seen_foreign.insert((*id).clone())).cloned().collect()
            }
        }
    }
}

fn unrolled(first: Node, onward: &BTreeMap<Node, Step>) -> Path {
    let mut steps = Vec::new();
    let mut at = &first;
    while let Some(step) = onward.get(at) {
        steps.push(step.clone());
        at = &step.0;
    }
    (first, steps)
}

fn problem(set: &PolicySet, files: &Files<'_>, never: &Never, (first, steps): &Path) -> Problem {
    let mut path = first.0.to_string();
    let mut places = Vec::new();
    for ((callee, _), by) in steps {
        let (what, place) = decider(set, callee, by);
        let at = place.map(|place| files.line(place));
        let at = at.map_or_else(String::new, |(file, line)| format!(", {file}:{line}"));
        path.push_str(&format!(" -> {callee} ({what}{at})"));
        places.extend(place.map(|place| (place, format!("lets it pass to {callee}"))));
    }
    let message = format!("`{}` is broken: {path}", never.name);
    let label = format!("{}; why: {}", reaches(never), never.why);
    let mut problem = Problem::error(Code::NeverHolds, never.place, message)
        .label(label)
        .help("close one of these steps: take it out of its rule, or deny it with a guard");
    for (place, label) in places {
        problem = problem.related(place, label);
    }
    problem
}

fn unknown(never: &Never, error: &str) -> Problem {
    let message = format!("`{}` cannot be shown to hold: {error}", never.name);
    Problem::error(Code::NeverHolds, never.place, message)
        .label(format!("{}; why: {}", reaches(never), never.why))
        .help("compare fewer values in conditions")
}

fn reaches(never: &Never) -> String {
    format!("{} reaches {}", never.from.text, never.to.text)
}

/// What lets a step pass, and where it stands.
fn decider(set: &PolicySet, callee: &str, by: &By) -> (String, Option<Place>) {
    let rule = |name: &str| set.rules.iter().find(|rule| rule.name == name).map(|it| it.place);
    let grant = |name: &str| {
        set.grants.iter().find(|grant| grant.rule.name == name).map(|it| it.rule.place)
    };
    let guard = |name: &str| set.guards.iter().find(|guard| guard.name == name).map(|it| it.place);
    match by {
        By::Rule(name) => (format!("rule {name}"), rule(name)),
        By::Grant(name) => (format!("grant {name}"), grant(name)),
        By::Guard(name) => (format!("guard {name} in audit"), guard(name)),
        By::Boundary(_) | By::Default => {
            let workload = set.by_name.get(callee).and_then(|number| set.workload(*number));
            let segment = workload.and_then(|it| set.segments.get(it.segment));
            let name = segment.map_or("", |segment| segment.name.as_str());
            (format!("segment {name} in audit"), segment.map(|segment| segment.place))
        }
    }
}
