//! Says how many tools of MCP servers an agent is shown one by one, and which always.

use super::layer::Layers;
use super::names;

/// How many tools of MCP servers are listed: beyond either limit an agent searches for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolLimits {
    /// The most tools.
    pub(crate) tools: usize,
    /// The most that their definitions take as JSON, in bytes.
    pub(crate) bytes: usize,
    /// Names of tools that are always listed; `*` stands for any characters.
    pub(crate) favourites: Vec<String>,
}

impl Default for ToolLimits {
    fn default() -> Self {
        Self { tools: 40, bytes: 32 << 10, favourites: Vec::new() }
    }
}

impl ToolLimits {
    /// Reads the limits from the strongest source of each.
    pub(super) fn of(layers: &mut Layers) -> Self {
        let default = Self::default();
        let favourites = layers.layers.iter().find_map(|layer| layer.favourites.clone());
        let number = |layers: &mut Layers, name, field: fn(&_) -> &Option<String>, default| {
            let Some((name, text)) = layers.first(name, field) else { return default };
            text.trim().parse::<usize>().unwrap_or_else(|_| {
                layers.invalid::<()>(name, "isn't a whole number");
                default
            })
        };
        Self {
            tools: number(layers, names::MAX_TOOLS, |layer| &layer.max_tools, default.tools),
            bytes: number(
                layers,
                names::MAX_TOOL_BYTES,
                |layer| &layer.max_tool_bytes,
                default.bytes,
            ),
            favourites: favourites.unwrap_or_default(),
        }
    }
}

/// Reads a number of the configuration file as text, as the environment gives it.
pub(super) fn number<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let number = <Option<u64> as serde::Deserialize>::deserialize(deserializer)?;
    Ok(number.map(|number| number.to_string()))
}
