//! Who is in the cluster, and whether each of them can do what a run is about to ask: the same
//! version, the memory, the stores.
//!
//! An executor that does not answer is not counted; Ballista gives its tasks to others.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::{
    accepted::Accepted,
    address::Cluster,
    http::{get, post},
    version::BuildId,
};
use crate::{
    error::{Error, Result},
    model::size,
    storage::store::{Object, Store},
};

/// An executor as the scheduler knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registered {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub host: String,
    /// Its port for results and questions.
    pub port: u16,
    /// Tasks that it takes at a time.
    pub vcores: u32,
    /// Seconds since it was last heard of.
    pub last_seen_seconds: Option<u64>,
}

/// An executor as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name: host and port.
    pub name: String,
    /// Its qlc.
    #[serde(flatten)]
    pub build: BuildId,
    /// Tasks that it takes at a time.
    pub vcores: usize,
    /// Bytes that its tasks may have resident together.
    pub memory: u64,
    /// Partitions under way.
    pub running: usize,
}

impl Member {
    /// Partitions that it works on at a time, if each may have `memory_limit` bytes.
    #[must_use]
    pub fn slots(&self, memory_limit: u64) -> usize {
        let fit = usize::try_from(self.memory / memory_limit.max(1)).unwrap_or(usize::MAX);
        self.vcores.min(fit)
    }
}

/// What a run will need of the stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The spools: absolute paths or URLs; none where none is needed.
    pub spools: Vec<String>,
    /// The archive.
    pub archive: Option<String>,
    /// Objects that must be there, by store: what another folder or bucket of the same name would
    /// not hold.
    pub samples: BTreeMap<String, Sample>,
    /// Whether the archive will be written to.
    pub writes: bool,
}

/// An object that the client sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What is wrong with the stores from where an executor stands, by store; empty when nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached(pub BTreeMap<String, String>);

impl Reach {
    /// What is asked for these stores; one that is absent is asked for where `needed` says so.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn of(spool: &Store, archive: &Store, writes: bool) -> Result<Self> {
        let mut samples = BTreeMap::new();
        for (_, store) in spool.roots().chain(archive.roots()) {
            if let Some(Object { key, size, .. }) = store.first().await? {
                let _ = samples.insert(store.address(), Sample { key, size });
            }
        }
        let needed = |store: &Store| (writes || !store.is_absent()).then(|| store.address());
        let spools = spool.roots().filter_map(|(_, root)| needed(root)).collect();
        Ok(Self {
            spools,
            archive: needed(archive),
            samples,
            writes,
        })
    }

    /// Tries all of it from here.
    pub(super) async fn tried(&self, accepted: &Accepted) -> Reached {
        let mut wrong = BTreeMap::new();
        let spools = self.spools.iter().map(|place| (place, false));
        for (place, is_archive) in spools.chain(self.archive.iter().map(|place| (place, true))) {
            if let Err(error) = self.one(place, is_archive, accepted).await {
                let _ = wrong.insert(place.clone(), error.chain());
            }
        }
        Reached(wrong)
    }

    async fn one(&self, place: &str, is_archive: bool, accepted: &Accepted) -> Result<()> {
        let store = if is_archive {
            accepted.archive(place)?
        } else {
            accepted.spool(place)?
        };
        let made_by_a_run = is_archive && self.writes;
        if store.is_absent() && !made_by_a_run {
            return Err(Error::usage(format!("{place}: there is no such folder")));
        }
        if let (Some(folder), true) = (store.local_folder(), made_by_a_run) {
            crate::storage::atomic::try_folder(folder)?;
        }
        match self.samples.get(place) {
            Some(sample) => match store.head(&sample.key).await? {
                Some(found) if found.size == sample.size => Ok(()),
                _ => Err(Error::usage(format!(
                    "{place}: does not hold {}: it is another place there",
                    sample.key
                ))),
            },
            None => store.first().await.map(|_| ()),
        }
    }
}

/// The executors that answer. Of those that do not, it is logged.
///
/// # Errors
/// When the scheduler does not answer.
pub(super) async fn members(cluster: &Cluster) -> Result<Vec<Member>> {
    let registered: Vec<Registered> =
        get(cluster.peers(), &cluster.place(), "qlc/executors").await?;
    let asked = registered.iter().map(|executor| async move {
        let place = format!("{}:{}", executor.host, executor.port);
        let about: Result<Member> = get(cluster.peers(), &place, "qlc/about").await;
        (executor, about)
    });
    let mut found = Vec::new();
    for (executor, about) in join_all(asked).await {
        match about {
            Ok(about) => found.push(Member {
                name: format!("{}:{}", executor.host, executor.port),
                ..about
            }),
            Err(error) => unanswered(&format!("{}:{}", executor.host, executor.port), &error),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// What is wrong with the executors for a run that needs `reach` and `memory_limit` bytes a
/// partition: by executor, in words. The executors themselves.
///
/// # Errors
/// When the scheduler does not answer.
pub async fn examined(
    cluster: &Cluster,
    reach: &Reach,
    memory_limit: u64,
) -> Result<(Vec<Member>, Vec<(String, String)>)> {
    let found = members(cluster).await?;
    let own = BuildId::own();
    let asked = found.into_iter().map(|member| async {
        let mut wrong = Vec::new();
        if member.build != own {
            wrong.push(format!(
                "is {}, this is {own}; one version makes one archive",
                member.build
            ));
            return Some((member, wrong));
        }
        if member.slots(memory_limit) == 0 {
            let (has, needs) = (size::show(member.memory), size::show(memory_limit));
            wrong.push(format!(
                "has {has} for its tasks, --memory-limit is {needs} a partition"
            ));
        }
        match post::<_, Reached>(cluster.peers(), &member.name, "qlc/reach", reach).await {
            Ok(reached) => wrong.extend(reached.0.into_values()),
            // It has died since it was first asked.
            Err(error) => {
                unanswered(&member.name, &error);
                return None;
            }
        }
        Some((member, wrong))
    });
    let answers: Vec<(Member, Vec<String>)> = join_all(asked).await.into_iter().flatten().collect();
    let findings = answers
        .iter()
        .flat_map(|(member, wrong)| wrong.iter().map(|what| (member.name.clone(), what.clone())));
    let findings = findings.collect();
    Ok((
        answers.into_iter().map(|(member, _)| member).collect(),
        findings,
    ))
}

fn unanswered(name: &str, error: &Error) {
    tracing::warn!(executor = name, error = %error.chain(), "does not answer; its work goes to others");
}

/// The executors, if all of them can do a run that needs `reach` and `memory_limit` bytes a
/// partition.
///
/// # Errors
/// When one of them cannot, which is named; when nobody is there.
pub async fn check(cluster: &Cluster, reach: &Reach, memory_limit: u64) -> Result<Vec<Member>> {
    let (members, wrong) = examined(cluster, reach, memory_limit).await?;
    if members.is_empty() {
        return Err(Error::usage(format!(
            "{cluster} has no executors: start some with qlc cluster executor"
        )));
    }
    if wrong.is_empty() {
        return Ok(members);
    }
    let lines: Vec<String> = wrong
        .into_iter()
        .map(|(name, what)| format!("executor {name}: {what}"))
        .collect();
    Err(Error::usage(format!(
        "nothing was begun: {}",
        lines.join("; ")
    )))
}
