//! The results of jobs, as executors give them away: Ballista's service, for what it wrote itself.
//!
//! A ticket names a job, and the job is the name of a folder. A name that leads elsewhere is
//! refused.

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
    flight_service_server::FlightService,
};
use ballista_core::serde::{decode_protobuf, scheduler::Action as Fetch};
use ballista_executor::flight_service::BallistaFlightService;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::accepted::check_job;

type Answer<T> = Result<Response<T>, Status>;
type Rows<T> = BoxStream<'static, Result<T, Status>>;

/// Ballista's service, of which two calls are answered.
pub(super) struct Results {
    inner: BallistaFlightService,
}

impl Results {
    pub(super) fn new(inner: BallistaFlightService) -> Self {
        Self { inner }
    }
}

fn check(ticket: &[u8]) -> Result<(), Status> {
    let Fetch::FetchPartition { job_id, .. } =
        decode_protobuf(ticket).map_err(|e| Status::invalid_argument(e.to_string()))?;
    check_job(job_id.as_str())
}

fn unanswered<T>() -> Answer<T> {
    Err(Status::unimplemented(
        "an executor of qlc gives the results of its jobs away, and nothing else",
    ))
}

#[async_trait]
impl FlightService for Results {
    type DoActionStream = <BallistaFlightService as FlightService>::DoActionStream;
    type DoExchangeStream = Rows<FlightData>;
    type DoGetStream = <BallistaFlightService as FlightService>::DoGetStream;
    type DoPutStream = Rows<PutResult>;
    type HandshakeStream = Rows<HandshakeResponse>;
    type ListActionsStream = Rows<ActionType>;
    type ListFlightsStream = Rows<FlightInfo>;

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        check(&request.get_ref().ticket)?;
        self.inner.do_get(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        check(&request.get_ref().body)?;
        self.inner.do_action(request).await
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        unanswered()
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        unanswered()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        unanswered()
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<Self::HandshakeStream> {
        unanswered()
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        unanswered()
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        unanswered()
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        unanswered()
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Answer<Self::DoExchangeStream> {
        unanswered()
    }
}
