//! A long run under steady load with faults: what server, plugin and bridges hold must not grow.
//!
//! | room | knows |
//! |---|---|
//! | [`sample`] | what one process holds now |
//! | [`series`] | what it held over time; flat or not |
//! | [`stage`] | the server, the upstreams, who may call what |
//! | [`load`] | the calls, and which answer each must get |
//! | [`faults`] | what goes wrong, and when |
//! | [`course`] | the run: load, faults and samples side by side |
//! | [`results`] | the run as table and chart |

pub mod course;
pub mod faults;
pub mod load;
pub mod results;
pub mod sample;
pub mod series;
pub mod stage;
