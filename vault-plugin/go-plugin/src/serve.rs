//! Runs a plugin from the handshake to its end.

use std::{process::ExitCode, time::Duration};

use proto::goplugin::{
    grpc_broker_server::GrpcBrokerServer, grpc_controller_server::GrpcControllerServer,
    grpc_stdio_server::GrpcStdioServer,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic::{
    service::Routes,
    transport::{Server, server::Router},
};
use tonic_health::ServingStatus;

use crate::{
    Broker, Environment, ProcessEnvironment, ServeConfig, ServeError,
    accept::accept,
    broker::Announcements,
    controller::{Controller, Stdio},
    core_dumps,
    handshake::{self, Offer},
    hclog,
    socket::Socket,
    stop::{Reason, Stop},
    tls::Tls,
};

/// How long calls in flight may take once the plugin is to end. Hosts kill after 2 s.
const GRACE: Duration = Duration::from_secs(1);

/// How many streams a host may have cancelled before we saw them. hyper takes more than 20 for an
/// attack and drops the connection; here the only client is the host, and its callers hanging up
/// in a burst must not end the plugin.
const CANCELLED_STREAMS: usize = 65_536;

/// Runs a plugin as the `main` of a process does: [`serve`], with errors told to whom they concern.
///
/// Before the handshake that is whoever reads standard error, in clear text, since it may be a
/// person; after it, the host's log.
pub async fn run<F>(config: ServeConfig, services: F) -> ExitCode
where
    F: FnOnce(Broker) -> Routes,
{
    match serve(config, services).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::FAILURE
        }
    }
}

/// Serves a plugin with the environment of the process, hclog on standard error and a panic hook
/// that logs: [`hclog::init`] and [`serve_with`].
///
/// # Errors
///
/// As [`serve_with`].
pub async fn serve<F>(config: ServeConfig, services: F) -> Result<(), ServeError>
where
    F: FnOnce(Broker) -> Routes,
{
    let env = ProcessEnvironment;
    let filter = config.log_variable.and_then(|name| env.var(name));
    hclog::init(filter.as_deref());
    serve_with(config, &env, services).await
}

/// Answers the host's handshake, then serves until the host asks for the end or is gone, or
/// SIGTERM comes.
///
/// `services` gets the [`Broker`] and returns the application's own gRPC services; the ones that
/// go-plugin needs are added (`grpc.health.v1.Health`, `plugin.GRPCBroker`,
/// `plugin.GRPCController`, `plugin.GRPCStdio`). Limits of message sizes are theirs to set.
///
/// When this returns, the socket is gone and calls in flight had a second to finish. What the
/// caller left running on its runtime should end with it: a host kills after two seconds.
///
/// # Errors
///
/// [`ServeError::Server`] if the gRPC server fails. All other variants come before the handshake
/// line: nothing was written to standard output.
///
/// # Panics
///
/// If `services` already has one of the services that are added.
pub async fn serve_with<E, F>(config: ServeConfig, env: &E, services: F) -> Result<(), ServeError>
where
    E: Environment,
    F: FnOnce(Broker) -> Routes,
{
    if !config.core_dumps {
        core_dumps::forbid().map_err(ServeError::CoreDumps)?;
    }
    let offer = Offer::read(&config, env)?;
    let stop = Stop::new();
    stop.on_signals().map_err(ServeError::Signals)?;
    let tls = Tls::new(offer.host_certificate.clone())?;
    let socket = Socket::bind(env)?;
    let answer = offer.answer(&socket.path, &tls.certificate);

    let broker = Broker::new(tls.client, stop.clone());
    let announcements = Announcements::new(broker.clone());
    expect_host(announcements.opened(), config.host_timeout, stop.clone());
    let router = router(services(broker), announcements, &stop).await;
    let incoming = accept(socket.listener, tls.server);

    handshake::write(&answer).map_err(ServeError::Handshake)?;

    let grace = async {
        stop.requested().await;
        sleep(GRACE).await;
    };
    tokio::select! {
        served = router.serve_with_incoming_shutdown(incoming, stop.requested()) => {
            served.map_err(ServeError::Server)
        }
        () = grace => {
            tracing::warn!("calls in flight were cut off");
            Ok(())
        }
    }
}

/// Adds what every go-plugin host expects to the application's services.
async fn router(services: Routes, announcements: Announcements, stop: &Stop) -> Router {
    let (health, health_service) = tonic_health::server::health_reporter();
    // The name go-plugin's ping asks for (`server.go`, `GRPCServiceName`).
    health.set_service_status("plugin", ServingStatus::Serving).await;
    let routes = services
        .add_service(health_service)
        .add_service(GrpcBrokerServer::new(announcements))
        .add_service(GrpcControllerServer::new(Controller(stop.clone())))
        .add_service(GrpcStdioServer::new(Stdio(stop.clone())));
    Server::builder()
        .http2_max_pending_accept_reset_streams(Some(CANCELLED_STREAMS))
        .add_routes(routes)
}

/// Ends the plugin unless the host opens the broker stream in time.
fn expect_host(mut opened: watch::Receiver<bool>, limit: Duration, stop: Stop) {
    tokio::spawn(async move {
        if timeout(limit, opened.wait_for(|opened| *opened)).await.is_err() {
            stop.request(Reason::HostSilent);
        }
    });
}
