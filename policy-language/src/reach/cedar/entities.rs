//! Workloads as Cedar's entities, and their schema.

use serde_json::{Value, json};

use super::CedarAction;
use crate::{PolicySet, question::Side, reach::survey::Versions};

impl PolicySet {
    pub(super) fn cedar_schema(&self, actions: &[CedarAction]) -> Value {
        let text = |required: bool| json!({"type": "String", "required": required});
        let mut attributes = serde_json::Map::new();
        attributes.insert("id".to_owned(), text(true));
        attributes.insert("workload".to_owned(), text(false));
        attributes.insert("segment".to_owned(), text(false));
        for variable in self.template.variables() {
            attributes.insert(format!("var.{variable}"), text(false));
        }
        for label in self.workloads.iter().flat_map(|workload| workload.labels.keys()) {
            attributes.insert(format!("label.{label}"), text(false));
        }
        let context = json!({"type": "Record", "attributes": {
            "now": {"type": "Long"},
            "tls_version": {"type": "String"},
            "tls_group": {"type": "String"},
        }});
        let applies = json!({
            "principalTypes": ["Workload"],
            "resourceTypes": ["Workload"],
            "context": context,
        });
        let actions: serde_json::Map<String, Value> = actions
            .iter()
            .map(|action| (action.action.clone(), json!({"appliesTo": applies})))
            .collect();
        let shape = json!({"type": "Record", "attributes": attributes});
        json!({"": {"entityTypes": {"Workload": {"shape": shape}}, "actions": actions}})
    }

    pub(super) fn cedar_entities(&self, versions: &Versions<'_>) -> Value {
        let mut entities = Vec::new();
        for environment in versions.environments.written() {
            for workload in &self.workloads {
                entities.extend(self.cedar_entity(&workload.name, environment));
            }
        }
        entities.into()
    }

    /// The environment that stands in an ID of this trust domain, whoever's it is.
    pub fn cedar_environment(&self, id: &spiffe::SpiffeId) -> Option<String> {
        Some(self.template.read(id)?.1)
    }

    /// A workload in an environment, as Cedar's entity; `None` where it has no ID there.
    pub fn cedar_entity(&self, workload: &str, environment: &str) -> Option<Value> {
        let side = Side {
            environment: environment.to_owned(),
            workload: workload.to_owned(),
            range: 0..0,
        };
        let (number, id) = self.side(&side).ok()?;
        let workload = self.workload(number)?;
        let mut attributes = serde_json::Map::new();
        attributes.insert("id".to_owned(), id.to_string().into());
        attributes.insert("workload".to_owned(), workload.name.clone().into());
        let segment = self.segments.get(workload.segment)?;
        attributes.insert("segment".to_owned(), segment.name.clone().into());
        for (variable, value) in self.template.variables().zip(environment.split('/')) {
            attributes.insert(format!("var.{variable}"), value.into());
        }
        for (label, value) in &workload.labels {
            attributes.insert(format!("label.{label}"), value.clone().into());
        }
        let uid = json!({"type": "Workload", "id": id.to_string()});
        Some(json!({"uid": uid, "attrs": attributes, "parents": []}))
    }
}
