//! Which steps there are, and in which order.

/// One step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One dev build of everything; the later steps only start what it made.
    Build,
    /// House rules.
    Tidy,
    /// Generated files are what their sources say.
    Generated,
    /// Unit and integration tests, examples among them.
    Tests,
    /// Examples in the documentation.
    DocTests,
    /// `meshwire-proto` for wasm32.
    Wasm,
    /// Every order in which threads can meet in the queue of completions.
    Loom,
    /// Handles and the queue in an interpreter that knows undefined behaviour.
    Miri,
    /// The gateway and the simulation as users get them.
    Release,
    /// The libraries of C as users get them: how large they are, and what the small one lacks.
    Sizes,
    /// Fresh seeds.
    Simulation,
    /// `kill -9` of the real gateway and of its consumers.
    Kill,
    /// What is measured on the real clock.
    OnTime,
    /// The client for other languages: packed, installed where nothing is, tested there.
    Bindings,
    /// Every case with every client against the real gateway, and every planted defect caught.
    Conformance,
    /// Programs of other projects publish to the real gateway and receive from it.
    Foreign,
    /// What a newcomer runs first.
    Demo,
    /// Clients beside floods of 5,000 connections.
    Floods,
    /// The bounds of memory and the rate beside who is stuck, measured briefly.
    BenchGuards,
}

/// Steps that follow one another, beside those of other lanes: most of their time they wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// What measures time or kills: before the two behind it, which are to end first.
    Undisturbed,
    /// What needs nothing but the workspace.
    Workspace,
    /// What needs the clients for other languages.
    Languages,
    /// What only computes, in the time that the others leave.
    Idle,
}

impl Step {
    /// What `cargo xtask test FILTER` runs.
    pub(crate) const FILTERED: &[Self] = &[Self::Build, Self::Tests];

    const EVERY: &[Self] = &[
        Self::Build,
        Self::Tidy,
        Self::Generated,
        Self::Kill,
        Self::OnTime,
        Self::Tests,
        Self::DocTests,
        Self::Wasm,
        Self::Simulation,
        Self::Bindings,
        Self::Conformance,
        Self::Foreign,
        Self::Demo,
    ];

    const ALL: &[Self] = &[
        Self::Build,
        Self::Tidy,
        Self::Generated,
        Self::Tests,
        Self::DocTests,
        Self::Wasm,
        Self::Loom,
        Self::Miri,
        Self::Release,
        Self::Sizes,
        Self::Simulation,
        Self::Kill,
        Self::OnTime,
        Self::Bindings,
        Self::Conformance,
        Self::Foreign,
        Self::Demo,
        Self::Floods,
        Self::BenchGuards,
    ];

    /// The plan of `test`, or of `test --all`.
    pub(crate) const fn plan(all: bool) -> &'static [Self] {
        if all { Self::ALL } else { Self::EVERY }
    }

    /// The lane of a step that may run beside those of other lanes. In `test --all` each runs by itself.
    pub(crate) const fn lane(self) -> Option<Lane> {
        match self {
            Self::Kill | Self::OnTime => Some(Lane::Undisturbed),
            Self::Tests | Self::DocTests | Self::Wasm | Self::Foreign => Some(Lane::Workspace),
            Self::Bindings | Self::Conformance | Self::Demo => Some(Lane::Languages),
            Self::Simulation => Some(Lane::Idle),
            _ => None,
        }
    }

    /// How many of these, which are all that is left, begin together.
    pub(crate) fn together(steps: &[Self], all: bool) -> usize {
        let beside = steps.iter().take_while(|step| step.lane().is_some()).count();
        if all { 1 } else { beside.max(1) }
    }

    /// The word on the screen and behind `--from`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Tidy => "tidy",
            Self::Generated => "generated",
            Self::Tests => "tests",
            Self::DocTests => "doc-tests",
            Self::Wasm => "wasm",
            Self::Loom => "loom",
            Self::Miri => "miri",
            Self::Release => "release",
            Self::Sizes => "sizes",
            Self::Simulation => "simulation",
            Self::Kill => "kill",
            Self::OnTime => "on-time",
            Self::Bindings => "bindings",
            Self::Conformance => "conformance",
            Self::Foreign => "foreign",
            Self::Demo => "demo",
            Self::Floods => "floods",
            Self::BenchGuards => "bench-guards",
        }
    }

    /// The step of that name.
    pub(crate) fn parse(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.iter().find(|step| step.name() == name).copied();
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|step| step.name()).collect();
            anyhow::anyhow!("no step `{name}`; the steps are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn what_makes_things_runs_by_itself_and_in_all_every_step_does() {
        let (mut left, mut groups) = (Step::plan(false), Vec::new());
        while !left.is_empty() {
            let (group, rest) = left.split_at(Step::together(left, false));
            groups.push(group.len());
            left = rest;
        }
        assert_eq!(groups, [1, 1, 1, 10]);
        assert_eq!(Step::together(Step::plan(true).split_at(5).1, true), 1);
    }
}
