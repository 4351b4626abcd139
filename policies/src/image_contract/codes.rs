//! The codes of the contract of images: why each matters and how to fix it.

use portreeve_reports::{CodeEntry, Severity};

/// Image can be read whole.
pub const READABLE: CodeEntry = CodeEntry {
    code: "PR-2001",
    title: "image can be read whole",
    severity: Severity::High,
    why: "What is in a layer that cannot be read, or whose bytes are not those that its digest says, runs all the \
          same and was judged by nobody.",
    fix: "Push the image again from where it was built. If it is larger than the bounds of docs/images/checking.md, \
          make it smaller.",
};
/// Layers stay inside the image.
pub const INSIDE: CodeEntry = CodeEntry {
    code: "PR-2002",
    title: "layers stay inside the image",
    severity: Severity::High,
    why: "A name that leads out of the image, a device or a link that goes nowhere does what whoever unpacks the \
          layer makes of it: overwrite files of a node, or hide files from one reader that another one runs.",
    fix: "Find the step that made the layer and build it anew with a current builder; do not add archives that \
          others made.",
};
/// Image is there for every platform.
pub const PLATFORMS: CodeEntry = CodeEntry {
    code: "PR-2003",
    title: "image is there for every platform",
    severity: Severity::Medium,
    why: "A node of a platform that the image does not have cannot start it, and one that is listed for another \
          platform than it was built for breaks when it starts.",
    fix: "Build for all platforms of the node pools (docker buildx build --platform linux/amd64,linux/arm64) and \
          push them as one index.",
};
/// Image is within its budgets.
pub const BUDGET: CodeEntry = CodeEntry {
    code: "PR-2004",
    title: "image is within its budgets",
    severity: Severity::Low,
    why: "A large image, or one with a large layer, is pulled for longer than users wait for their server \
          (startTimeout); an old one lacks the security updates of its base.",
    fix: "Leave out caches and build tools (multi-stage builds), split the largest step, and rebuild on a current \
          base.",
};
/// Image says where it comes from.
pub const LABELS: CodeEntry = CodeEntry {
    code: "PR-2005",
    title: "image says where it comes from",
    severity: Severity::Low,
    why: "Without source, revision and time of creation nobody can tell which commit an image was built from when it \
          has to be fixed.",
    fix: "Set the labels org.opencontainers.image.source, .revision and .created when building.",
};
/// Image does not run as root.
pub const USER: CodeEntry = CodeEntry {
    code: "PR-2010",
    title: "image does not run as root",
    severity: Severity::High,
    why: "A process that is root in its container is root on the node after one mistake of the kernel or the \
          runtime; a user that is a name cannot be checked by runAsNonRoot.",
    fix: "End the Containerfile with USER and a number, such as USER 1000:100.",
};
/// Accounts of the image have no open doors.
pub const ACCOUNTS: CodeEntry = CodeEntry {
    code: "PR-2011",
    title: "accounts of the image have no open doors",
    severity: Severity::High,
    why: "An account without a password, or a second one with user id 0, lets whoever is inside become root.",
    fix: "Lock the account (passwd -l NAME) or remove it, and keep user id 0 for root alone.",
};
/// No program gives its user more rights.
pub const SETUID: CodeEntry = CodeEntry {
    code: "PR-2012",
    title: "no program gives its user more rights",
    severity: Severity::Medium,
    why: "A setuid or setgid program, or one with file capabilities, runs with more rights than who calls it; a \
          mistake in it makes root of a user.",
    fix: "Remove the bit (chmod a-s FILE, setcap -r FILE) in the step that installs the program. \
          allowPrivilegeEscalation: false makes them harmless, too.",
};
/// Files are not writable for everybody.
pub const WRITABLE: CodeEntry = CodeEntry {
    code: "PR-2013",
    title: "files are not writable for everybody",
    severity: Severity::Medium,
    why: "What everybody can write, every process of the container can replace, programs and configuration included.",
    fix: "chmod o-w in the step that made the files; folders that everybody needs get the sticky bit as /tmp has it.",
};
/// Nothing that is needed is in the home folder.
pub const HOME: CodeEntry = CodeEntry {
    code: "PR-2014",
    title: "nothing that is needed is in the home folder",
    severity: Severity::Low,
    why: "The platform mounts the user's volume over the home folder: what the image has there, nobody sees.",
    fix: "Put it elsewhere (/opt, /etc/skel), and let the start of the server copy what a new user needs.",
};
/// Image starts as it is meant to.
pub const STARTS: CodeEntry = CodeEntry {
    code: "PR-2020",
    title: "image starts as it is meant to",
    severity: Severity::Medium,
    why: "A command in shell form runs as a child of a shell, does not get signals and loses the arguments of the \
          spawner; an ENTRYPOINT that does not exec its arguments never starts the server.",
    fix: "Write ENTRYPOINT and CMD as JSON lists, and end a script that is an ENTRYPOINT with exec \"$@\".",
};
/// Programs are found where they should be.
pub const SEARCH_PATH: CodeEntry = CodeEntry {
    code: "PR-2021",
    title: "programs are found where they should be",
    severity: Severity::High,
    why: "A folder in PATH that is relative or that everybody can write, or a library that is loaded into every \
          program (LD_PRELOAD, LD_LIBRARY_PATH), lets files decide what runs under a name.",
    fix: "Have only absolute folders in PATH that root owns, and leave LD_PRELOAD and LD_LIBRARY_PATH to the \
          platform.",
};
/// Ports and volumes are sensible.
pub const OPENINGS: CodeEntry = CodeEntry {
    code: "PR-2022",
    title: "ports and volumes are sensible",
    severity: Severity::Low,
    why: "A port below 1024 needs rights that the user should not have, one of a remote shell is a second way in; a \
          volume over a folder of the system hides it or is made anew at each start.",
    fix: "Drop EXPOSE and VOLUME lines that the program does not need, and listen on a port from 1024 on.",
};
/// Programs that the platform calls are there.
pub const TOOLS: CodeEntry = CodeEntry {
    code: "PR-2023",
    title: "programs that the platform calls are there",
    severity: Severity::High,
    why: "The spawner runs /bin/sh, ln, printf and mkdir in the container when a server starts; without them the \
          server does not start.",
    fix: "Use a base image with a shell and coreutils, or install bash and coreutils.",
};
/// Image works for user 1000 and group 100.
pub const ACCESS: CodeEntry = CodeEntry {
    code: "PR-2024",
    title: "image works for user 1000 and group 100",
    severity: Severity::High,
    why: "The platform runs servers as user 1000 with group 100, whatever USER says; what this user cannot read or \
          execute does not start.",
    fix: "Make programs and environments readable and executable for others (chmod -R o+rX), or give them to group \
          100.",
};
/// No layer holds a private key.
pub const PRIVATE_KEY: CodeEntry = CodeEntry {
    code: "PR-2030",
    title: "no layer holds a private key",
    severity: Severity::Critical,
    why: "Whoever can pull the image has the key, also when a later step deletes the file: the layer below still has \
          it.",
    fix: "Replace the key, it is known. Build without it: use a secret mount (RUN --mount=type=secret) or an agent \
          (--mount=type=ssh).",
};
/// No layer holds a credential.
pub const CREDENTIAL: CodeEntry = CodeEntry {
    code: "PR-2031",
    title: "no layer holds a credential",
    severity: Severity::High,
    why: "Whoever can pull the image can log in with it, also when a later step deletes the file: the layer below \
          still has it.",
    fix: "Revoke the credential, it is known. Build without it: use a secret mount (RUN --mount=type=secret).",
};
/// No credential in environment or labels.
pub const ENVIRONMENT: CodeEntry = CodeEntry {
    code: "PR-2032",
    title: "no credential in environment or labels",
    severity: Severity::High,
    why: "Variables and labels are in the configuration of the image, which everybody can read who can pull it, and \
          every process inherits them.",
    fix: "Revoke the credential, and give it to the container at run time from a Secret.",
};
/// No credential in the history.
pub const HISTORY_SECRET: CodeEntry = CodeEntry {
    code: "PR-2033",
    title: "no credential in the history",
    severity: Severity::High,
    why: "Build arguments and commands are written into the history of the image; everybody who can pull it can read \
          them.",
    fix: "Revoke the credential and build with a secret mount (RUN --mount=type=secret) in place of ARG and ENV.",
};
/// No repository in the image.
pub const REPOSITORY: CodeEntry = CodeEntry {
    code: "PR-2034",
    title: "no repository in the image",
    severity: Severity::Medium,
    why: "A .git folder has all that was ever committed, with what was deleted since, and often the URL with the \
          token it was cloned with.",
    fix: "Put .git into .dockerignore, and delete it in the same step that clones.",
};
/// No download goes straight into a shell.
pub const PIPED: CodeEntry = CodeEntry {
    code: "PR-2040",
    title: "no download goes straight into a shell",
    severity: Severity::Medium,
    why: "What a server answers at build time runs as root; nobody has seen it, and two builds may get two answers.",
    fix: "Download to a file, compare its SHA-256 with the one you have written down, then run it; better, install a \
          package.",
};
/// Nothing is added from a URL.
pub const ADDED_URL: CodeEntry = CodeEntry {
    code: "PR-2041",
    title: "nothing is added from a URL",
    severity: Severity::Low,
    why: "ADD with a URL takes whatever is there at build time, without a digest.",
    fix: "Use ADD --checksum=sha256:…, or download and compare in a RUN step.",
};
/// Image has no sudo.
pub const SUDO: CodeEntry = CodeEntry {
    code: "PR-2042",
    title: "image has no sudo",
    severity: Severity::Medium,
    why: "sudo in an image makes root of a user by a line of configuration; a build is root anyway and needs none.",
    fix: "Drop sudo from the commands and the packages; switch with USER.",
};
/// Build does not upgrade the system.
pub const UPGRADE: CodeEntry = CodeEntry {
    code: "PR-2043",
    title: "build does not upgrade the system",
    severity: Severity::Low,
    why: "An upgrade in a build makes two builds of one commit differ, and doubles files in layers; what is old is \
          the base.",
    fix: "Use a newer base image by digest, and install what you need by version.",
};
/// No step makes files writable for everybody.
pub const CHMOD: CodeEntry = CodeEntry {
    code: "PR-2044",
    title: "no step makes files writable for everybody",
    severity: Severity::Medium,
    why: "chmod 777 lets every process of the container replace what is there.",
    fix: "Give the files to the user or group that writes them (COPY --chown, chmod g+w).",
};
/// Base image is pinned.
pub const BASE: CodeEntry = CodeEntry {
    code: "PR-2045",
    title: "base image is pinned",
    severity: Severity::Low,
    why: "A base by a tag such as latest is another one with each build.",
    fix: "Write the base with its digest (FROM name:tag@sha256:…) and let a bot update it.",
};
/// Packages come over TLS and from indexes that are checked.
pub const CHANNELS: CodeEntry = CodeEntry {
    code: "PR-2050",
    title: "packages come over TLS and from indexes that are checked",
    severity: Severity::High,
    why: "Packages that come by http, or from an index whose certificate is not checked, are whatever somebody on \
          the way makes of them; users install from there at run time.",
    fix: "Use https in .condarc, pip.conf and .npmrc, and remove trusted-host and ssl_verify: false.",
};
/// Jupyter is configured safely.
pub const JUPYTER_CONFIG: CodeEntry = CodeEntry {
    code: "PR-2060",
    title: "Jupyter is configured safely",
    severity: Severity::High,
    why: "allow_root, an empty token or password, disable_check_xsrf or allow_origin '*' take away what keeps other \
          pages and other users out of a server that runs any code.",
    fix: "Remove the setting from the configuration in the image; the spawner sets what is needed.",
};
/// Jupyterhub-singleuser is on the PATH.
pub const SINGLEUSER: CodeEntry = CodeEntry {
    code: "PR-2061",
    title: "jupyterhub-singleuser is on the PATH",
    severity: Severity::High,
    why: "The spawner starts jupyterhub-singleuser; where it is not found, no server starts.",
    fix: "Install jupyterhub into the environment whose bin folder is on PATH.",
};
/// JupyterHub is of the hub's version.
pub const HUB_VERSION: CodeEntry = CodeEntry {
    code: "PR-2062",
    title: "JupyterHub is of the hub's version",
    severity: Severity::High,
    why: "A single-user server of another major version does not speak to the hub; another minor version is warned \
          about and breaks in parts.",
    fix: "Install jupyterhub in the version of the hub (--hub-version).",
};
/// Jupyter Server and JupyterLab are there.
pub const SERVER: CodeEntry = CodeEntry {
    code: "PR-2063",
    title: "Jupyter Server and JupyterLab are there",
    severity: Severity::High,
    why: "Servers are started as jupyter_server.serverapp.ServerApp and opened at /lab: Jupyter Server 2 or later \
          and JupyterLab are needed.",
    fix: "Install jupyter_server (2 or later) and jupyterlab into the environment of jupyterhub-singleuser.",
};
/// Libnss_wrapper.so is there.
pub const NSS_WRAPPER: CodeEntry = CodeEntry {
    code: "PR-2064",
    title: "libnss_wrapper.so is there",
    severity: Severity::High,
    why: "The platform sets LD_PRELOAD=libnss_wrapper.so in every server so that user names resolve; without the \
          library every program complains, and with musl it does not work.",
    fix: "Install libnss-wrapper (Debian, Ubuntu) or nss_wrapper (conda-forge, Fedora), on a base with glibc.",
};
/// Paths that are mounted over are folders.
pub const MOUNTS: CodeEntry = CodeEntry {
    code: "PR-2065",
    title: "paths that are mounted over are folders",
    severity: Severity::High,
    why: "The platform mounts configuration on fixed paths; where the image has a file in place of a folder, the \
          container does not start.",
    fix: "Remove the file, or make it a folder.",
};
/// Packages that the platform's configuration names are there.
pub const COMPANIONS: CodeEntry = CodeEntry {
    code: "PR-2066",
    title: "packages that the platform's configuration names are there",
    severity: Severity::Low,
    why: "The server's configuration imports them: without argo-jupyter-scheduler jobs, without nb_conda_kernels the \
          environments of users are missing, and a configuration that imports what is not there stops the server.",
    fix: "Install the packages into the environment of jupyterhub-singleuser, or switch the feature off in the \
          platform.",
};
/// Hub image has what the hub needs.
pub const HUB: CodeEntry = CodeEntry {
    code: "PR-2067",
    title: "hub image has what the hub needs",
    severity: Severity::High,
    why: "The chart starts jupyterhub with its own configuration, which imports these packages and writes to \
          /srv/jupyterhub.",
    fix: "Start from the chart's hub image, and install the missing packages.",
};
/// Dask worker image has what the gateway needs.
pub const DASK: CodeEntry = CodeEntry {
    code: "PR-2068",
    title: "dask worker image has what the gateway needs",
    severity: Severity::High,
    why: "The gateway starts workers and schedulers by these scripts with dask-gateway and distributed; their \
          versions must be those of the client's environment.",
    fix: "Copy the scripts executable to /opt, and install dask-gateway and distributed in the client's versions.",
};
/// Packages of the image can be listed.
pub const INVENTORY: CodeEntry = CodeEntry {
    code: "PR-2070",
    title: "packages of the image can be listed",
    severity: Severity::Low,
    why: "What is not listed is in no report when a vulnerability of it is published.",
    fix: "Keep the records of package managers in the image (dpkg status, conda-meta, dist-info).",
};

/// All of them.
pub const CODES: &[CodeEntry] = &[
    READABLE,
    INSIDE,
    PLATFORMS,
    BUDGET,
    LABELS,
    USER,
    ACCOUNTS,
    SETUID,
    WRITABLE,
    HOME,
    STARTS,
    SEARCH_PATH,
    OPENINGS,
    TOOLS,
    ACCESS,
    PRIVATE_KEY,
    CREDENTIAL,
    ENVIRONMENT,
    HISTORY_SECRET,
    REPOSITORY,
    PIPED,
    ADDED_URL,
    SUDO,
    UPGRADE,
    CHMOD,
    BASE,
    CHANNELS,
    JUPYTER_CONFIG,
    SINGLEUSER,
    HUB_VERSION,
    SERVER,
    NSS_WRAPPER,
    MOUNTS,
    COMPANIONS,
    HUB,
    DASK,
    INVENTORY,
];
