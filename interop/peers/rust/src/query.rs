//! A query of libp2p-kad as something to wait for.

use std::collections::HashMap;

use libp2p::{
    Multiaddr, PeerId,
    kad::{QueryId, QueryResult, QueryStats},
};
use tokio::sync::mpsc;

use crate::{
    answers::Failure,
    node::{Handle, Kad},
};

pub struct Progress {
    pub result: QueryResult,
    pub stats: QueryStats,
    pub last: bool,
    /// Of the peers in the result, where the event has their ids only.
    pub addresses: HashMap<PeerId, Vec<Multiaddr>>,
}

/// A running query. Dropped, it ends.
pub struct Query {
    /// There was nobody to ask: the node's own store is all.
    pub alone: bool,
    id: QueryId,
    handle: Handle,
    progress: mpsc::UnboundedReceiver<Progress>,
}

impl Query {
    /// Starts a query. Fails with what `begin` fails with.
    pub async fn start<B>(handle: &Handle, begin: B) -> Result<Self, Failure>
    where
        B: FnOnce(&mut Kad) -> Result<QueryId, Failure> + Send + 'static,
    {
        let (sender, progress) = mpsc::unbounded_channel();
        let begun = handle.with(move |node| {
            let alone = node.table().is_empty();
            let id = begin(node.kad())?;
            node.queries.insert(id, sender);
            Ok((id, alone))
        });
        let (id, alone) = begun.await??;
        Ok(Self { alone, id, handle: handle.clone(), progress })
    }

    /// The same query, unless there was nobody to ask.
    pub fn among_peers(self) -> Result<Self, Failure> {
        if self.alone { Err(Failure::no_peers()) } else { Ok(self) }
    }

    /// What comes next, None after the last.
    pub async fn next(&mut self) -> Option<Progress> {
        self.progress.recv().await
    }

    /// What comes last.
    pub async fn end(mut self) -> Result<Progress, Failure> {
        while let Some(progress) = self.next().await {
            if progress.last {
                return Ok(progress);
            }
        }
        Err(Failure::new("defect", "a query without an end"))
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        let id = self.id;
        self.handle.later(move |node| {
            node.queries.remove(&id);
            if let Some(mut query) = node.kad().query_mut(&id) {
                query.finish();
            }
        });
    }
}
