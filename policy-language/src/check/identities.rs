//! The template, and the IDs it gives to each workload.

use std::collections::BTreeMap;

use cellwall_policy::{IdentityError, IdentityHeader, IdentityTemplate, Protocol};

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::{Label, Workload, WorkloadNumber},
    place::Place,
    syntax::{Text, WorkloadItem},
};

impl Checker<'_> {
    pub(super) fn template(&mut self, text: Option<&Text>) {
        // A missing one has been reported.
        let Some(text) = text else { return };
        match IdentityTemplate::parse(&text.value) {
            Ok(template) => self.parts.template = Some(template),
            Err(error) => self.bad_identity(text.place, &error),
        }
    }

    pub(super) fn workloads(&mut self, items: &[WorkloadItem]) {
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        for item in items {
            if let Some(first) = places.get(item.name.value.as_str()) {
                self.twice("workload", &item.name, *first);
                continue;
            }
            places.insert(&item.name.value, item.name.place);
            let number = WorkloadNumber(self.parts.workloads.len());
            self.parts.by_name.insert(item.name.value.clone(), number);
            let shape = self.shape(item);
            if let Some(shape) = &shape
                && let Some(other) = self.parts.by_shape.insert(shape.clone(), number)
            {
                self.same_identity(item, other);
            }
            for (label, value) in &item.labels {
                let label = self
                    .parts
                    .labels
                    .entry(label.value.clone())
                    .or_insert_with(|| Label { place: label.place, values: BTreeMap::new() });
                label.values.entry(value.value.clone()).or_default().insert(number);
            }
            let text = |text: &Text| text.value.clone();
            let identity_headers = self.identity_headers(item);
            self.parts.workloads.push(Workload {
                name: text(&item.name),
                place: item.name.place,
                id: item.id.as_ref().map(text),
                shape,
                listens: item.listens.clone(),
                identity_headers,
                labels: item
                    .labels
                    .iter()
                    .map(|(label, value)| (text(label), text(value)))
                    .collect(),
                segment: 0,
            });
        }
    }

    /// In which headers a workload is told who calls. Bytes have none.
    fn identity_headers(&mut self, item: &WorkloadItem) -> Vec<IdentityHeader> {
        let Some(said) = &item.identity_header else { return IdentityHeader::USUAL.to_vec() };
        let bytes_only = item.listens.iter().all(|listener| listener.protocol == Protocol::Tcp);
        if bytes_only && !item.listens.is_empty() {
            let message =
                format!("`{}` listens for no requests that have headers", item.name.value);
            let problem = Problem::error(Code::Misplaced, said.place, message)
                .help("`identity_header` is for workloads that listen for `http` or `grpc`");
            self.problems.push(problem);
        }
        said.headers.iter().copied().collect()
    }

    fn shape(&mut self, item: &WorkloadItem) -> Option<cellwall_policy::Shape> {
        let template = self.parts.template.as_ref()?;
        let (shape, place) = match &item.id {
            Some(id) => (template.shape(&id.value, &item.name.value), id.place),
            None => (template.derive(&item.name.value), item.name.place),
        };
        match shape {
            Ok(shape) => Some(shape),
            Err(error) => {
                self.bad_identity(place, &error);
                None
            }
        }
    }

    fn same_identity(&mut self, item: &WorkloadItem, other: WorkloadNumber) {
        let Some(other) = self.parts.workloads.get(other.0) else { return };
        let message = format!("`{}` has the identity of `{}`", item.name.value, other.name);
        let place = item.id.as_ref().map_or(item.name.place, |id| id.place);
        let problem = Problem::error(Code::SameIdentity, place, message)
            .help("two workloads never share an ID: change one of the `id`s, or the name");
        self.problems.push(problem.related(other.place, "the other one"));
    }

    pub(super) fn bad_identity(&mut self, place: Place, error: &IdentityError) {
        let code = match error {
            IdentityError::Reserved => Code::ReservedIdentity,
            IdentityError::Environment(_) | IdentityError::TooLong => Code::BadEnvironment,
            IdentityError::NotATemplate
            | IdentityError::TrustDomain(_)
            | IdentityError::TooManySegments
            | IdentityError::BadSegment(_)
            | IdentityError::Workload
            | IdentityError::Repeated(_)
            | IdentityError::NotAPath
            | IdentityError::Misplaced(_) => Code::BadIdentity,
        };
        self.problems.push(Problem::error(code, place, error.to_string()));
    }
}
