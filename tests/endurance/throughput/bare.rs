//! What a program does that has nothing but lapin: the same broker, the same HTTP, no member
//! in between. Each is a process of its own, so that its processor time can be told.

use std::{net::Ipv4Addr, time::Duration};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use clap::Subcommand;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::FieldTable,
};

/// Which.
#[derive(Subcommand, Clone, Debug)]
pub enum Bare {
    /// Calls a URL with each message of a queue and acks it.
    Consume {
        uri: String,
        queue: String,
        url: String,
        prefetch: u16,
    },
    /// Publishes what it is called with and answers after the confirm.
    Publish {
        uri: String,
        queue: String,
        port: u16,
    },
}

/// Runs until it is killed.
pub async fn run(which: Bare) {
    match which {
        Bare::Consume {
            uri,
            queue,
            url,
            prefetch,
        } => consume(&uri, queue, url, prefetch).await,
        Bare::Publish { uri, queue, port } => publish(&uri, queue, port).await,
    }
}

async fn channel(uri: &str) -> (Connection, Channel) {
    let connection = Connection::connect(uri, ConnectionProperties::default());
    let connection = connection.await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

async fn consume(uri: &str, queue: String, url: String, prefetch: u16) {
    let (_connection, channel) = channel(uri).await;
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    qos.await.expect("a prefetch");
    let options = BasicConsumeOptions {
        exclusive: true,
        ..Default::default()
    };
    let consuming =
        channel.basic_consume(queue.into(), "bare".into(), options, FieldTable::default());
    let mut consumer = consuming.await.expect("a consumer");
    // As a member sets up its own.
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(2))
        .no_proxy()
        .tcp_nodelay(true);
    let client = client.build().expect("a client");
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery.expect("a delivery");
        let call = client
            .post(&url)
            .header("content-type", "text/plain")
            .timeout(Duration::from_secs(10))
            .body(delivery.data);
        tokio::spawn(async move {
            let answer = call.send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.status());
            answer.bytes().await.expect("a body");
            let acked = delivery.acker.ack(BasicAckOptions::default()).await;
            assert!(acked.expect("an ack"));
        });
    }
}

async fn publish(uri: &str, queue: String, port: u16) {
    let (connection, channel) = channel(uri).await;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.expect("confirms");
    let app = Router::new()
        .route("/", post(one))
        .with_state((channel, queue));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let serving = axum::serve(listener.expect("a port"), app).await;
    serving.expect("a server");
    drop(connection);
}

async fn one(State((channel, queue)): State<(Channel, String)>, body: Bytes) -> StatusCode {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish("".into(), queue.into(), options, &body, properties);
    match sent.await.expect("a publish").await {
        Ok(Confirmation::Ack(None)) => StatusCode::OK,
        _ => StatusCode::BAD_GATEWAY,
    }
}
