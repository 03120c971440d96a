//! The host's two small services: ending the plugin, and the standard streams it doesn't use.
//!
//! Protocol: go-plugin `grpc_controller.go`, `grpc_stdio.go`.

use proto::goplugin::{
    Empty, StdioData, grpc_controller_server::GrpcController, grpc_stdio_server::GrpcStdio,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::stop::{Reason, Stop};

/// Ends the plugin when the host asks for it.
pub(crate) struct Controller(pub(crate) Stop);

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.0.request(Reason::Shutdown);
        Ok(Response::new(Empty {}))
    }
}

/// Answers with a stream on which nothing is ever sent: hosts log a warning without one, and
/// Vault and OpenBao discard what comes.
pub(crate) struct Stdio(pub(crate) Stop);

#[tonic::async_trait]
impl GrpcStdio for Stdio {
    type StreamStdioStream = ReceiverStream<Result<StdioData, Status>>;

    async fn stream_stdio(
        &self,
        _request: Request<()>,
    ) -> Result<Response<Self::StreamStdioStream>, Status> {
        let (sender, stream) = mpsc::channel(1);
        let stop = self.0.clone();
        // The stream must end with the plugin, or a graceful end would wait for it.
        tokio::spawn(async move {
            tokio::select! {
                _ = stop.requested() => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
