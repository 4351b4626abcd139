//! What stands while the steps are played.

use std::process::Command;

use portreeve_tests::OrFail as _;
use portreeve_tests::age::AgeKey;
use portreeve_tests::api::Api;
use portreeve_tests::binary::{Output, Portreeve};
use portreeve_tests::fail;
use portreeve_tests::registry::Registry;
use portreeve_tests::stage::Stage;
use serde_json::Value;

use crate::steps::{cluster, doors, platform, secrets};
use crate::teller::Teller;

/// The cluster with its guard, the registry, and a key of age.
pub(crate) struct Play {
    pub(crate) stage: Stage,
    pub(crate) registry: Registry,
    pub(crate) key: AgeKey,
}

impl Play {
    /// All steps, in their order.
    pub(crate) async fn through(teller: &mut Teller) -> Self {
        teller.line("Building portreeve, unless it is built …");
        Portreeve::path();
        let mut play = cluster::up(teller).await;
        platform::deployed(&play, teller).await;
        platform::unsigned(&play, teller).await;
        platform::drift(&play, teller).await;
        secrets::kept(&mut play, teller).await;
        doors::tokens(&play, teller).await;
        doors::findings(&play, teller).await;
        play
    }

    /// The page.
    pub(crate) fn url(&self) -> String {
        self.stage.daemon.url()
    }

    /// The administrator.
    pub(crate) fn api(&self) -> &Api {
        self.stage.plane.api()
    }

    /// Writes a file beside the configuration.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.stage.daemon.folder().join(name);
        let folder = path.parent().or_fail("a file stands in a folder");
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text)).or_fail(name);
    }

    /// A file beside the configuration.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.stage.daemon.folder().join(name)).or_fail(name)
    }

    /// Runs a command as it is shown.
    pub(crate) fn run(&self, teller: &Teller, arguments: &[&str]) -> Output {
        teller.act(&format!("portreeve {}", arguments.join(" ")));
        let output = Portreeve::finish(&mut self.command(arguments));
        teller.output(&output);
        output
    }

    /// Runs a command that must end well.
    pub(crate) fn done(&self, teller: &Teller, arguments: &[&str]) -> Output {
        let output = self.run(teller, arguments);
        if output.code != Some(0) {
            fail(format!("portreeve {} ended with {:?}", arguments.join(" "), output.code));
        }
        output
    }

    /// A command in the folder of the configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Portreeve::command();
        command.current_dir(self.stage.daemon.folder()).args(arguments);
        command
    }

    /// Waits for a finding by a query, and gives it.
    pub(crate) async fn finding(&self, query: &str) -> Value {
        self.stage.daemon.wait_for(query, "the finding", |found| found.first().cloned()).await
    }
}
