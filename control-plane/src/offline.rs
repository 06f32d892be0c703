//! What is done to a data directory that nobody serves: founding, raising the epoch.

use std::time::SystemTime;

use anyhow::Context as _;

use crate::{
    config::{InitConfig, RaiseConfig},
    epoch::{self, Raised},
    founding::{self, FoundingOrder},
    store::{SealingKey, Store},
};

/// Makes a trust domain and returns what to tell the operator.
///
/// # Errors
///
/// When there is one already, or it cannot be written.
pub async fn init(config: InitConfig) -> anyhow::Result<String> {
    config.data.create()?;
    let _lock = config.data.secure(&config.sealing_key)?;
    let (store, thread) = Store::open(&config.data.database())?;
    let founded = found(&config, &store).await;
    drop(store);
    thread.join();
    founded?;
    Ok(next_steps(&config))
}

pub(crate) async fn found(config: &InitConfig, store: &Store) -> anyhow::Result<()> {
    let order = FoundingOrder {
        trust_domain: config.trust_domain.clone(),
        ca_life: config.ca_ttl,
        now: SystemTime::now(),
    };
    founding::found(&config.data, store, &config.sealing_key, &order).await?;
    let sealing = SealingKey::load(&config.sealing_key)?;
    let root = founding::open(&config.data, store, &sealing).await?;
    founding::publish(&config.data, &root)?;
    Ok(())
}

fn next_steps(config: &InitConfig) -> String {
    const HOUR: u64 = 3600;
    let data = &config.data;
    let life = match config.ca_ttl.as_secs() {
        seconds if seconds % (24 * HOUR) == 0 => format!("{} days", seconds / (24 * HOUR)),
        _ => humantime::format_duration(config.ca_ttl).to_string(),
    };
    format!(
        "Trust domain {name} is founded; its authority lives {life}.

  {database}
      secret: the authority's and the policy's private keys, sealed, and everything else
  {sealing}
      secret: opens them; keep a copy, and not beside a copy of the database
  {key}
      public: sidecars check policies with it
  {bundle}
      public: the authority's certificate

Next:
  cellwalld run --data-dir {dir}
  cellwall policy apply         an empty trust domain gives nobody an identity
  cellwall-proxy run --policy-key {key} ...

Workloads of other users need a socket that they can reach: cellwalld run --workload-socket PATH
",
        name = config.trust_domain,
        dir = data.root().display(),
        database = data.database().display(),
        sealing = config.sealing_key.display(),
        key = data.policy_key().display(),
        bundle = data.bundle().display(),
    )
}

/// Raises the epoch of a trust domain that nobody serves, and returns what to tell the operator.
///
/// # Errors
///
/// When a cellwalld runs on it, the audit log was changed, or the new epoch is not higher.
pub async fn raise_epoch(config: RaiseConfig) -> anyhow::Result<String> {
    let dir = config.data.root().display();
    anyhow::ensure!(config.data.database().exists(), "--data-dir {dir}: no trust domain here");
    let _lock = config.data.secure(&config.sealing_key)?;
    let (store, thread) = Store::open(&config.data.database())?;
    let raised = try_raise(&config, &store).await;
    drop(store);
    thread.join();
    let Raised { from, to } = raised?;
    Ok(format!("epoch {to}, it was {from}; sidecars follow once cellwalld runs again\n"))
}

async fn try_raise(config: &RaiseConfig, store: &Store) -> anyhow::Result<Raised> {
    let sealing = SealingKey::load(&config.sealing_key)?;
    let root = founding::open(&config.data, store, &sealing).await?;
    store.verify_audit().await?.context("not raising the epoch")?;
    let actor = format!("uid:{} pid:{}", nix::unistd::getuid(), std::process::id());
    Ok(epoch::raise(store, &sealing, root.epoch, config.to, actor).await?)
}
