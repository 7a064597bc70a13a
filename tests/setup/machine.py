"""A machine of one's own for each test of the set-up.

The set-up scripts know a machine only through the commands on PATH and a few variables. So a test
gets a `Machine`: an own PATH that holds the plain tools of any Unix and, beyond those, just the
commands that the test puts there (interpreters, `uv`, `pyenv`, `apt-get`, a compiler), each a
few lines of shell; an own home and cache; and a copy of the checkout's scripts. Nothing
is downloaded or compiled, and nothing of the real machine is seen or changed.
"""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What sh scripts may expect of any machine.
PLAIN_TOOLS = """
awk basename cat chmod cksum cp cut date dirname env false getconf grep head ln ls mkdir mktemp
mv readlink realpath rm sed seq sh sha256sum sleep sort tail tar timeout touch tr true uname wc bash
""".split()

HEADERS = """
stdio.h zlib.h openssl/ssl.h ffi.h sqlite3.h bzlib.h lzma.h readline/readline.h uuid/uuid.h zstd.h
""".split()


@dataclass
class Result:
    status: int
    out: str
    err: str


class Machine:
    def __init__(self, base: Path) -> None:
        self.bin = base / "bin"
        self.bin.mkdir(parents=True)
        for tool in PLAIN_TOOLS:
            if path := shutil.which(tool):
                (self.bin / tool).symlink_to(path)
        self.home = base / "home"
        self.home.mkdir()
        self.cache = base / "cache" / "rtsync"
        self.checkout = base / "here" / "checkout"
        self.checkout.mkdir(parents=True)
        shutil.copytree(ROOT / "tools", self.checkout / "tools")
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, self.checkout / name)
        self.state = base / "state"
        self.state.mkdir()
        self.env = {
            "PATH": str(self.bin),
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.cache.parent),
            "STATE": str(self.state),
            "LOG": str(self.state / "log"),
        }
        self.root(False)

    # What is on it.

    def command(self, name: str, script: str, directory: Path | None = None) -> Path:
        """Put a command on PATH. It finds a writable directory in $STATE, and logs to $LOG."""
        path = (directory or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text("#!/bin/sh\n" + textwrap.dedent(script))
        path.chmod(0o755)
        return path

    def python(self, name: str, kind: str = "free", minor: int = 14, directory: Path | None = None) -> Path:
        """An interpreter: says what it is, makes virtual environments, logs the rest."""
        return self.command(
            name,
            f"""\
            case "$1" in
                -I) echo "{kind} {minor} $0" ;;
                -VV) echo "Python 3.{minor}.0 {kind}" ;;
                *)
                    echo "${{0##*/}} $*" >>"$LOG"
                    if [ "$2" = venv ]; then
                        mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python"
                        for tool in ruff mypy; do
                            printf '#!/bin/sh\\necho "%s $*" >>"$LOG"\\n' $tool >"$3/bin/$tool"
                            chmod +x "$3/bin/$tool"
                        done
                    fi ;;
            esac
            """,
            directory,
        )

    def root(self, is_root: bool) -> None:
        user, number = ("root", 0) if is_root else ("someone", 1000)
        self.command("id", f'[ "$1" = -un ] && echo {user} || echo {number}\n')

    def headers(self, *names: str) -> None:
        """The headers that the compiler finds, all it may want if none are named."""
        (self.state / "headers").write_text("\n".join(names or HEADERS) + "\n")

    def compiler(self) -> None:
        """A C compiler with headers, and a make that `builds` what the archive's configure said."""
        self.headers()
        self.command(
            "cc",
            """\
            for header in $(sed -n 's/#include <\\(.*\\)>/\\1/p'); do
                grep -qx "$header" "$STATE/headers" || exit 1
            done
            """,
        )
        self.command("xz", "")
        self.command(
            "make",
            """\
            echo "make $*" >>"$LOG"
            [ "$1" = install ] || exit 0
            to=${2#DESTDIR=}$(cat prefix)/bin
            mkdir -p "$to" && cp built-python "$to/python3"
            """,
        )

    def archive(self, name: str, minor: int = 14, kind: str = "free", configure: str = "") -> Path:
        """A source archive of a Python 3.minor.7 that the compiler above can build."""
        python = self.python(f"built-{minor}", kind, minor, self.state).read_text()
        configure += """
            echo "configure $*" >>"$LOG"
            for a; do case $a in --prefix=*) echo "${a#*=}" >prefix ;; esac; done
        """
        files = {
            "configure": "#!/bin/sh\n" + configure,
            "built-python": python,
            "Include/patchlevel.h": "#define PY_MAJOR_VERSION\t3\n"
            f"#define PY_MINOR_VERSION\t{minor}\n#define PY_MICRO_VERSION\t7\n",
        }
        path = self.state / name
        with tarfile.open(path, "w") as tar:
            for member, text in files.items():
                info = tarfile.TarInfo(f"Python-3.{minor}.7/{member}")
                info.mode, info.size = 0o755, len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
        return path

    def distribution(
        self,
        pool: dict[str, Path] | None = None,
        index: dict[str, str] | None = None,
        installs: bool = True,
    ) -> None:
        """apt: `pool` holds archives by file name, `index` the checksums it claims by file name."""
        directory = self.state / "pool"
        directory.mkdir(exist_ok=True)
        for name, path in (pool or {}).items():
            shutil.copy(path, directory / name)
        sources = self.state / "sources"
        sources.mkdir(exist_ok=True)
        for name, checksum in (index or {}).items():
            package = name.split("_")[0]
            with (sources / package).open("a") as stanzas:
                stanzas.write(
                    f"Package: {package}\nFiles:\n 0 1 {name}\nChecksums-Sha256:\n"
                    f" {checksum} 1 {name}\n{'0' * 64} 1 {package}_1.debian.tar.xz\n"
                    f"Directory: pool/main/p/{package}\n\n"
                )
        if installs:
            (self.state / "installs").touch()
        self.command(
            "apt-get",
            """\
            verb= last=
            for word; do
                case $word in update | install | indextargets) verb=$word ;; esac
                last=$word
            done
            case $verb in
                indextargets)
                    echo 'Packages|Elsewhere|Elsewhere|main|any|mirror:/elsewhere/'
                    echo 'Packages|Debian|Debian|main|bookworm|mirror:/debian/' ;;
                install)
                    echo "apt-get install ${*##* install }" >>"$LOG"
                    [ -e "$STATE/installs" ] || { echo 'E: Unable to fetch' >&2; exit 100; }
                    touch "$STATE/installed" ;;
            esac
            """,
        )
        self.command("apt-cache", 'for last; do :; done; cat "$STATE/sources/$last"\n')
        self.command(
            "apt-helper",
            """\
            while [ "$1" != download-file ]; do shift; done
            echo "download $2" >>"$LOG"
            cp "$STATE/pool/${2##*/}" "$3" 2>/dev/null || { echo 'E: 404  Not Found'; exit 100; }
            """,
        )

    # What is done with it.

    def run(self, script: str, *arguments: str, **env: object) -> Result:
        """Run one of the checkout's scripts, or a command, with these variables."""
        done = subprocess.run(
            [script if os.path.isabs(script) else str(self.checkout / script), *arguments],
            env=self.env | {name: str(value) for name, value in env.items()},
            cwd=self.checkout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
        )
        return Result(done.returncode, done.stdout.strip(), done.stderr)

    def find(self, *arguments: str, **env: object) -> Result:
        return self.run("tools/find-python.sh", *arguments, **env)

    def log(self) -> list[str]:
        path = Path(self.env["LOG"])
        return path.read_text().splitlines() if path.exists() else []


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
