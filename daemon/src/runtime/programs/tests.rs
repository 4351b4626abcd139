use super::*;

/// Put in place by another process: a descriptor of ours could be held open by the fork of another test's thread, and
/// a file that is open for writing cannot be run.
fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
    let (text, file) = (folder.join("script"), folder.join(name));
    std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
    let install = std::process::Command::new("install").args(["-m", "755"]).arg(&text).arg(&file).status();
    assert!(install.unwrap().success());
    file
}

async fn asked(script: &str, input: &[u8]) -> Result<Answer, Unanswered> {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), "program", script);
    let environment = [("SAID".to_owned(), "in the environment".to_owned())];
    let arguments = ["get".to_owned()];
    ask(&Question { program: &program, arguments: &arguments, environment: &environment, input }).await
}

#[tokio::test]
async fn a_program_hears_its_input_arguments_and_environment_and_says_how_it_ended() {
    let answer =
        asked("echo \"$(cat) $1 $SAID\"; echo hunter2 >&2; exit 3", b"asked").await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((answer.status.code(), &answer.output[..]), (Some(3), &b"asked get in the environment\n"[..]));
}

#[tokio::test]
async fn a_program_that_reads_nothing_is_heard_all_the_same() {
    let answer = asked("exec <&-; echo done", &[b'x'; 1 << 20]).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(&answer.output[..], b"done\n");
}

#[tokio::test]
async fn answers_are_taken_up_to_the_cap_and_refused_above_it() {
    for (bytes, is_taken) in [(ANSWER_BYTES, true), (ANSWER_BYTES + 1, false), (1 << 30, false)] {
        let answer = asked(&format!("head -c {bytes} /dev/zero"), b"").await;
        match answer {
            Ok(answer) => assert!(is_taken && answer.output.len() == bytes, "{bytes}"),
            Err(error) => assert!(!is_taken && matches!(error, Unanswered::TooLarge), "{bytes}: {error}"),
        }
    }
}

#[tokio::test]
async fn who_stops_waiting_ends_the_program_and_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // The grandchild holds the pipe open for as long as it lives.
    let script = format!("(exec sleep 600) > '{}' & wait", pipe.display());
    let program = program(folder.path(), "program", &script);
    let question = Question { program: &program, arguments: &[], environment: &[], input: b"" };
    let mut held = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
    let ended = async {
        // The first end of file comes before there is a writer, so wait until there is one.
        held.readable().await.unwrap();
        held.read_to_end(&mut Vec::new()).await
    };
    let waiting = tokio::time::timeout(Duration::from_millis(500), ask(&question)).await;
    assert!(waiting.is_err(), "it never answers");
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap(), 0);
}

#[test]
fn only_programs_in_absolute_folders_of_the_path_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = program(folder.path(), "helper", "exit 0");
    std::fs::write(folder.path().join("text"), "no program").unwrap();
    let path = std::env::join_paths([Path::new("."), Path::new(""), folder.path()]).unwrap();
    assert_eq!(find("helper", &path), Some(file));
    assert_eq!(find("text", &path), None);
    assert_eq!(find("Cargo.toml", OsStr::new(".")), None);
    assert_eq!(find("..", &path), None, "a folder is no program");
}
