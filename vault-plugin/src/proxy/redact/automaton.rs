//! A finite automaton as a list of edges, compiled to be run forwards or backwards.

use regex_automata::nfa::thompson::{BuildError, Builder, NFA, Transition};

/// A state; see [`Automaton::node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(u32);

/// What a search looks for. Where one byte may lead to several nodes, or a text may end or go on,
/// the edge that was added first is preferred, and going on is preferred to an end.
#[derive(Default)]
pub(super) struct Automaton {
    nodes: u32,
    edges: Vec<Edge>,
    starts: Vec<Node>,
    ends: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Edge {
    from: Node,
    first: u8,
    last: u8,
    to: Node,
}

/// Bounds a compiled automaton, in bytes.
const MOST_BYTES: usize = 8 << 20;

impl Automaton {
    /// Adds a node.
    pub(super) fn node(&mut self) -> Node {
        self.nodes += 1;
        Node(self.nodes - 1)
    }

    /// Lets texts begin at a node.
    pub(super) fn start_at(&mut self, node: Node) {
        self.starts.push(node);
    }

    /// Lets texts end at a node.
    pub(super) fn end_at(&mut self, node: Node) {
        self.ends.push(node);
    }

    /// Adds the way from one node to another by one byte.
    pub(super) fn edge(&mut self, from: Node, byte: u8, to: Node) {
        self.range(from, byte, byte, to);
    }

    /// Adds the way from one node to another by any byte of a range.
    pub(super) fn range(&mut self, from: Node, first: u8, last: u8, to: Node) {
        self.edges.push(Edge { from, first, last, to });
    }

    /// Compiles it to find where texts end, or with `backwards` where they begin.
    pub(super) fn compile(&self, backwards: bool) -> Result<NFA, Box<BuildError>> {
        let mut builder = Builder::new();
        builder.set_utf8(false);
        builder.set_reverse(backwards);
        builder.set_size_limit(Some(MOST_BYTES))?;
        builder.start_pattern()?;
        let found = builder.add_match()?;
        // Edges lead in circles: each node has its number before it has its edges.
        let mut ids = Vec::new();
        for _ in 0..self.nodes {
            ids.push(builder.add_empty()?);
        }
        let id = |node: Node| {
            usize::try_from(node.0).ok().and_then(|at| ids.get(at)).copied().unwrap_or(found)
        };

        let (mut starts, mut ends) = (&self.starts, &self.ends);
        if backwards {
            (starts, ends) = (ends, starts);
        }
        let edges = self.edges_by_node(backwards);
        let mut edges = edges.as_slice();
        for node in (0..self.nodes).map(Node) {
            let own = edges.iter().take_while(|edge| edge.from == node).count();
            let (own, others) = edges.split_at(own);
            edges = others;
            let mut transitions = own.iter().map(|edge| Transition {
                start: edge.first,
                end: edge.last,
                next: id(edge.to),
            });
            let is_end = ends.contains(&node);
            // Most nodes have one edge, and nearly all others edges that exclude each other.
            let way = match (transitions.len(), transitions.next()) {
                (1, Some(only)) if !is_end => builder.add_range(only)?,
                (_, first) => {
                    let mut layers = layers(first.into_iter().chain(transitions));
                    match (layers.pop(), layers.is_empty() && !is_end) {
                        (Some(only), true) => builder.add_sparse(only)?,
                        (last, _) => {
                            let mut ways = Vec::new();
                            for layer in layers.into_iter().chain(last) {
                                ways.push(builder.add_sparse(layer)?);
                            }
                            ways.extend(is_end.then_some(found));
                            builder.add_union(ways)?
                        }
                    }
                }
            };
            builder.patch(id(node), way)?;
        }

        let start = starts.iter().map(|start| id(*start)).collect();
        let start = builder.add_union(start)?;
        builder.finish_pattern(start)?;
        if backwards {
            // From a known end alone.
            return Ok(builder.build(start, start)?);
        }
        // Last in order, or a text would be missed in which another begins.
        let anywhere = builder.add_empty()?;
        let skip = builder.add_range(Transition { start: 0, end: u8::MAX, next: anywhere })?;
        let either = builder.add_union(vec![start, skip])?;
        builder.patch(anywhere, either)?;
        Ok(builder.build(start, anywhere)?)
    }

    /// The edges, those of each node together, in the order in which they were added.
    fn edges_by_node(&self, backwards: bool) -> Vec<Edge> {
        let mut edges = self.edges.clone();
        if backwards {
            for edge in &mut edges {
                (edge.from, edge.to) = (edge.to, edge.from);
            }
        }
        edges.sort_by_key(|edge| edge.from.0);
        edges
    }
}

/// Parts the transitions of a node into sets whose ranges don't overlap, the preferred ones first; each
/// in ascending order.
fn layers(transitions: impl Iterator<Item = Transition>) -> Vec<Vec<Transition>> {
    let mut layers: Vec<Vec<Transition>> = Vec::new();
    for transition in transitions {
        let overlaps = |layer: &Vec<Transition>| {
            layer.iter().any(|other| transition.start <= other.end && other.start <= transition.end)
        };
        let at = layers.iter().rposition(overlaps).map_or(0, |at| at + 1);
        match layers.get_mut(at) {
            Some(layer) => {
                let at = layer.partition_point(|other| other.start < transition.start);
                layer.insert(at, transition);
            }
            None => layers.push(vec![transition]),
        }
    }
    layers
}
