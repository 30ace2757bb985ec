//! What a cluster refuses: everything but what qlc sends. Nothing of it is read, written or removed.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use ballista_core::{
    client::BallistaClient,
    execution_plans::{ShuffleWriterExec, execute_physical_plan},
    extension::SessionConfigExt,
    serde::{
        BallistaPhysicalExtensionCodec,
        protobuf::{
            ExecuteQueryParams, LaunchMultiTaskParams, MultiTaskDefinition, RemoveJobDataParams,
            StopExecutorParams, TaskId, execute_query_params::Query,
            executor_grpc_client::ExecutorGrpcClient, scheduler_grpc_client::SchedulerGrpcClient,
        },
        scheduler::{PartitionId, ShuffleLayout},
    },
};
use datafusion::{
    execution::options::{CsvReadOptions, JsonReadOptions, ParquetReadOptions},
    physical_plan::ExecutionPlan,
    prelude::{SessionConfig, SessionContext},
};
use datafusion_proto::{physical_plan::AsExecutionPlan, protobuf::PhysicalPlanNode};
use futures::TryStreamExt;
use tempfile::TempDir;

use crate::{
    processes::{Cluster, Kind, get},
    same::{fleet, objects},
    support::{archive::listing, run::Place},
};

/// A place with an archive, and files beside it that nobody of the cluster may read.
struct Scene {
    place: Place,
    secrets: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let place = Place::new();
        fleet(&place, 2, 2, 100);
        let _ = place.compact(&[]).ended(0);
        let secrets = TempDir::new().unwrap();
        let at = |name: &str| secrets.path().join(name).display().to_string();
        std::fs::write(at("a.csv"), "word\nsecret\n").unwrap();
        std::fs::write(at("a.json"), "{\"word\": \"secret\"}\n").unwrap();
        let session = SessionContext::new();
        let made = session
            .sql(&format!(
                "COPY (SELECT 'secret' AS word) TO '{}'",
                at("a.parquet")
            ))
            .await
            .unwrap();
        let _ = made.collect().await.unwrap();
        Self { place, secrets }
    }

    /// Everything that could be changed.
    fn state(&self) -> [BTreeMap<String, String>; 3] {
        [
            listing(&self.place.archive()),
            listing(&self.place.spool()),
            listing(self.secrets.path()),
        ]
    }

    /// Plans that read a secret, or write where nobody may.
    async fn plans(&self) -> Vec<(&'static str, Arc<dyn ExecutionPlan>)> {
        let at = |name: &str| self.secrets.path().join(name).display().to_string();
        // The new file lies in the archive, the other one is there already.
        let archived = objects(&self.place);
        let data = archived
            .keys()
            .find(|key| key.ends_with("data.parquet"))
            .unwrap();
        let data = self.place.archive().join(data).display().to_string();
        let new = self.place.archive().join("new.csv").display().to_string();
        let session = SessionContext::new();
        let (csv, json) = (CsvReadOptions::new(), JsonReadOptions::default());
        session.register_csv("c", at("a.csv"), csv).await.unwrap();
        session
            .register_json("j", at("a.json"), json)
            .await
            .unwrap();
        let parquet = ParquetReadOptions::default();
        session
            .register_parquet("p", at("a.parquet"), parquet)
            .await
            .unwrap();
        let statements = [
            ("a scan of csv files", "SELECT * FROM c".to_owned()),
            ("a scan of json files", "SELECT * FROM j".to_owned()),
            ("does not lie below", "SELECT * FROM p".to_owned()),
            (
                "a scan of csv files",
                "SELECT count(*) FROM p JOIN c USING (word)".to_owned(),
            ),
            (
                "DataSinkExec",
                format!("COPY (SELECT 1 AS a) TO '{data}' STORED AS PARQUET"),
            ),
            (
                "DataSinkExec",
                format!("COPY (SELECT 1 AS a) TO '{new}' STORED AS CSV"),
            ),
        ];
        let mut plans = Vec::new();
        for (why, sql) in statements {
            let rows = session.sql(&sql).await.unwrap();
            plans.push((why, rows.create_physical_plan().await.unwrap()));
        }
        plans
    }
}

/// Whether a file below `folder` has the secret in it.
fn holds_the_secret(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            holds_the_secret(&path)
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            bytes.windows(6).any(|part| part == b"secret")
        }
    })
}

#[tokio::test]
async fn a_scheduler_takes_no_plan_that_qlc_does_not_send() {
    let scene = Scene::new().await;
    let before = scene.state();
    let mut cluster = Cluster::without_executors();
    let executor = cluster.join(&scene.place, Kind::default());
    let url = format!("http://127.0.0.1:{}", cluster.port);
    for (why, plan) in scene.plans().await {
        let config = SessionConfig::new_with_ballista();
        let rows = execute_physical_plan::<PhysicalPlanNode>(
            url.clone(),
            &config.ballista_config(),
            plan,
            &BallistaPhysicalExtensionCodec::default(),
            "somebody".to_owned(),
            config,
        )
        .await;
        let ended = match rows {
            Ok(rows) => rows.try_collect::<Vec<_>>().await,
            Err(error) => Err(error),
        };
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
        assert!(!error.contains("secret\n"), "{error}");
    }
    let mut scheduler = SchedulerGrpcClient::connect(url).await.unwrap();
    for query in [
        Query::LogicalPlan(Vec::new()),
        Query::SubstraitPlan(Vec::new()),
    ] {
        let asked = ExecuteQueryParams {
            query: Some(query),
            session_id: "somebody".to_owned(),
            ..ExecuteQueryParams::default()
        };
        let status = scheduler.execute_query(asked).await.unwrap_err();
        assert!(status.message().contains("no statements"), "{status}");
    }
    assert_eq!(scene.state(), before);
    assert!(!holds_the_secret(&cluster.spill_of(&executor)));
    scene.place.verify();
}

/// A task whose results are those of `plan`.
fn task(job: &str, plan: Arc<dyn ExecutionPlan>, scheduler: u16) -> LaunchMultiTaskParams {
    let codec = BallistaPhysicalExtensionCodec::default();
    let stage = ShuffleWriterExec::try_new(job.into(), 1, plan, String::new()).unwrap();
    let node = PhysicalPlanNode::try_from_physical_plan(Arc::new(stage), &codec).unwrap();
    let mut bytes = Vec::new();
    node.try_encode(&mut bytes).unwrap();
    LaunchMultiTaskParams {
        multi_tasks: vec![MultiTaskDefinition {
            task_ids: vec![TaskId {
                global_output_partition_ids: vec![0],
                vcores_consumed: 1,
                ..TaskId::default()
            }],
            job_id: job.to_owned(),
            stage_id: 1,
            plan: bytes,
            session_id: "somebody".to_owned(),
            ..MultiTaskDefinition::default()
        }],
        scheduler_endpoint: format!("127.0.0.1:{scheduler}"),
    }
}

#[tokio::test]
async fn an_executor_takes_no_stage_that_qlc_does_not_send() {
    let scene = Scene::new().await;
    let before = scene.state();
    let mut cluster = Cluster::without_executors();
    let executor = cluster.join(&scene.place, Kind::default());
    let url = format!("http://{executor}");
    let mut client = ExecutorGrpcClient::connect(url).await.unwrap();
    for (nth, (why, plan)) in scene.plans().await.into_iter().enumerate() {
        let job = format!("job{nth}");
        let asked = task(&job, plan, cluster.port);
        let answer = client.launch_multi_task(asked).await.unwrap().into_inner();
        // A scan of Parquet is a stage of qlc's; the file that it is to open is not.
        let is_refused_when_read = why == "does not lie below";
        let want = if is_refused_when_read {
            Vec::new()
        } else {
            vec![job]
        };
        assert_eq!(answer.failed_jobs, want, "{why}");
    }
    // The name of a job is the name of a folder, and leads nowhere else.
    let outside = scene.secrets.path().display().to_string();
    for job in [format!("../../../{outside}"), outside, "..".to_owned()] {
        let asked = LaunchMultiTaskParams {
            multi_tasks: vec![MultiTaskDefinition {
                job_id: job.clone(),
                ..MultiTaskDefinition::default()
            }],
            ..LaunchMultiTaskParams::default()
        };
        let status = client.launch_multi_task(asked).await.unwrap_err();
        assert!(status.message().contains("refused"), "{job}: {status}");
        let asked = RemoveJobDataParams {
            job_id: job.clone(),
            ..RemoveJobDataParams::default()
        };
        let status = client.remove_job_data(asked).await.unwrap_err();
        assert!(status.message().contains("refused"), "{job}: {status}");
    }
    // Work that is given out later is done: what was given before has been decided.
    let url = cluster.url();
    let _ = scene.place.compact(&["--cluster", &url]).ended(0);
    assert!(!holds_the_secret(&cluster.spill_of(&executor)));
    assert_eq!(scene.state()[1..], before[1..]);
    assert_eq!(scene.state()[0], before[0]);
    scene.place.verify();
}

#[tokio::test]
async fn a_task_is_executed_only_if_it_came_in_by_the_port_of_the_cluster() {
    let place = Place::new();
    let mut cluster = Cluster::without_executors();
    let executor = cluster.join(&place, Kind::default());
    let one_row = || async {
        let rows = SessionContext::new().sql("SELECT 1 AS one").await.unwrap();
        rows.create_physical_plan().await.unwrap()
    };
    // The port by which the executor passes tasks on to itself can be reached on its machine.
    let inner = format!("http://127.0.0.1:{}", cluster.inner[&executor]);
    let mut client = ExecutorGrpcClient::connect(inner).await.unwrap();
    let asked = task("passed-by", one_row().await, cluster.port);
    let answer = client.launch_multi_task(asked).await.unwrap().into_inner();
    assert!(answer.failed_jobs.is_empty(), "{answer:?}");
    let mut client = ExecutorGrpcClient::connect(format!("http://{executor}"))
        .await
        .unwrap();
    let asked = task("came-in", one_row().await, cluster.port);
    let _ = client.launch_multi_task(asked).await.unwrap();
    let spill = cluster.spill_of(&executor);
    let has_results = |job: &str| listing(&spill).keys().any(|name| name.contains(job));
    let began = std::time::Instant::now();
    while !has_results("came-in") {
        let waited = began.elapsed();
        assert!(waited.as_secs() < 60, "{:?}", listing(&spill));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(!has_results("passed-by"), "{:?}", listing(&spill));
}

#[tokio::test]
async fn an_executor_that_is_told_to_stop_goes_on() {
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::without_executors();
    let executor = cluster.join(&place, Kind::default());
    let known = get(cluster.port, "/qlc/executors").unwrap();
    let known: serde_json::Value = serde_json::from_str(&known).unwrap();
    let id = known[0]["id"].as_str().unwrap().to_owned();
    let mut client = ExecutorGrpcClient::connect(format!("http://{executor}"))
        .await
        .unwrap();
    let asked = StopExecutorParams {
        executor_id: id.clone(),
        reason: "it was not heard of".to_owned(),
        force: true,
    };
    let _ = client.stop_executor(asked).await.unwrap();
    // One that obeyed would take nothing more.
    let url = cluster.url();
    let _ = place.compact(&["--cluster", &url]).ended(0);
    place.verify();
    let known = get(cluster.port, "/qlc/executors").unwrap();
    assert!(known.contains(&id), "{known}");
}

#[tokio::test]
async fn an_executor_gives_only_results_away() {
    let scene = Scene::new().await;
    let mut cluster = Cluster::without_executors();
    let executor = cluster.join(&scene.place, Kind::default());
    let port: u16 = executor.rsplit(':').next().unwrap().parse().unwrap();
    // A file as results have it, in a folder that is none of a job.
    let outside = scene.secrets.path().join("outside");
    std::fs::create_dir_all(outside.join("1/0")).unwrap();
    std::fs::write(outside.join("1/0/data.arrow"), "secret").unwrap();
    let mut client = BallistaClient::try_new(
        "127.0.0.1",
        port,
        1 << 20,
        false,
        None,
        1,
        1,
        1 << 20,
        1 << 20,
    )
    .await
    .unwrap();
    let climbing = format!("../../../{}", outside.display());
    for job in [outside.display().to_string(), climbing, "..".to_owned()] {
        let place = PartitionId::new(&job.as_str().into(), 1, 0);
        for whole in [false, true] {
            let fetched = client
                .fetch_partition("x", &place, None, ShuffleLayout::Passthrough, whole)
                .await;
            let ended = match fetched {
                Ok(rows) => rows
                    .try_collect::<Vec<_>>()
                    .await
                    .map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let error = ended.unwrap_err();
            assert!(error.contains("refused"), "{job}: {error}");
        }
    }
}

#[test]
fn tasks_over_other_places_are_refused_by_name() {
    let place = Place::new();
    fleet(&place, 2, 1, 50);
    let mut cluster = Cluster::without_executors();
    let name = cluster.join(&place, Kind::default());
    let other = place.root().join("elsewhere").display().to_string();
    let url = cluster.url();
    let args = ["compact", "--mode", "catch-up", "--cluster", &url];
    let ran = place.elsewhere(&other, &args).ended(2);
    assert!(
        ran.stderr
            .contains(&format!("executor {name}: {other}: refused")),
        "{ran}"
    );
    assert!(!Path::new(&other).exists());
}
