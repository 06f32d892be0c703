//! cellwalld: the identity vault, the policy book and their distribution.
//!
//! `authority` signs, `registry` says who is entitled, `policy_book` keeps what people applied,
//! `distribution` brings it to the sidecars, `ledger` takes in what they decided, `operators` is the
//! door for people, `audit` and `store` remember. Nothing here is in the path of a call.

pub mod app;
pub mod args;
pub mod audit;
pub mod authority;
pub mod clock;
pub mod config;
pub mod distribution;
pub mod drain;
pub mod embedded;
pub mod epoch;
pub mod files;
pub mod founding;
pub mod gauges;
pub mod hardening;
pub mod health;
pub mod http;
pub mod ledger;
pub mod logging;
pub mod metrics;
pub mod offline;
pub mod operators;
pub mod policy_book;
pub mod registry;
pub mod report;
pub mod store;
