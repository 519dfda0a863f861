"""Settings of the stages that show, use or share what has been run: none of them decides a result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pipeline.config.checks import expanded, require_variances
from pipeline.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the report step does about stages that have not been run."""

    run_missing: bool = True
    """Run classify and sweep first where the store has no finished run of them; false: report what there is.
    Data are prepared all the same."""


@dataclass(frozen=True, kw_only=True)
class Ui:
    """The MLflow UI."""

    port: int = 5000
    """Port on the loopback interface."""

    open_browser: bool = True
    """Open the first link in a browser, if there is a screen."""

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise UserError(f"ui.port is {self.port}; give a port from 1 to 65535, for example PORT=5000")


@dataclass(frozen=True, kw_only=True)
class Denoise:
    """Denoising images with a trained model. The first five may be given by their last name alone."""

    inputs: tuple[Path, ...] = ()
    """Images, and folders of images. They are only read."""

    out: Path | None = None
    """Folder that the denoised images go into, as PNG under the names of the inputs; earlier ones are replaced."""

    variance: float | Literal["blind"] = "blind"
    """Of the noise, pixels running from 0 to 1; blind: estimated from each image."""

    model: str | None = None
    """A network (residual), a registered model (cifar10-denoiser-0.05, NAME@alias, NAME/version), or an alias; not
    given: the champion for the variance."""

    clean: Path | None = None
    """The clean image, or the folder with the clean images of the same names, to measure against."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(path.expanduser() for path in self.inputs))
        for name in ("out", "clean"):
            object.__setattr__(self, name, expanded(getattr(self, name)))
        if self.variance != "blind":
            require_variances("variance", [self.variance])


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Naming digits with a trained classifier. `inputs`, `out` and `model` may be given by their last name alone."""

    inputs: tuple[Path, ...] = ()
    """CSV files of any form, images, and folders of images. They are only read."""

    out: Path | None = None
    """CSV that the predictions go into; not given: they are printed."""

    model: str | None = None
    """A network (cnn), a registered model (mnist-classifier, NAME@alias, NAME/version), or an alias; not given: the
    champion."""

    form: Literal["full", "kaggle"] = "full"
    """full: file, image, digit, confidence, and label where there is one; kaggle: ImageId,Label, for a submission."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(path.expanduser() for path in self.inputs))
        object.__setattr__(self, "out", expanded(self.out))


@dataclass(frozen=True, kw_only=True)
class Server:
    """An MLflow server for several people or machines. No secrets: those come from the environment or from files."""

    host: str = "127.0.0.1"
    """Interface it listens on; 0.0.0.0: all, which needs `auth` and `allowed_hosts`."""

    port: int = 5000
    """Port it listens on."""

    backend: str | None = None
    """Database of the runs, such as postgresql://user@host/mlflow; default: MLFLOW_BACKEND_STORE_URI, else mlflow.db in
    `home`. A password belongs into that variable, PGPASSWORD or ~/.pgpass."""

    artifacts: Path | None = None
    """Folder of the files of all runs; default: mlartifacts in `home`."""

    auth: bool = False
    """Ask for a user and a password."""

    admin: str = "admin"
    """The user who makes other users."""

    password_file: Path | None = None
    """File with the admin's first password; default: MLFLOW_AUTH_ADMIN_PASSWORD."""

    allowed_hosts: tuple[str, ...] = ()
    """Names that clients call the machine by; requests for any other are refused."""

    workers: int = 2
    """Processes that answer requests."""

    def __post_init__(self) -> None:
        for name in ("artifacts", "password_file"):
            object.__setattr__(self, name, expanded(getattr(self, name)))
        if not 0 < self.port < 65536:
            raise UserError(f"server.port is {self.port}; give a port from 1 to 65535, for example PORT=5000")
        if self.workers < 1:
            raise UserError(f"server.workers is {self.workers}; give 1 or more")
        if "*" in self.allowed_hosts:
            raise UserError("server.allowed_hosts: * is every name; give those that the machine is called by")
        for name in self.allowed_hosts:
            if "/" in name or name.count(":") == 1:
                only = urlsplit(name if "/" in name else f"//{name}").hostname
                hint = f": HOSTS={only}" if only else ""
                raise UserError(f"server.allowed_hosts: {name} is an address; give the name alone{hint}")
        if self.backend and urlsplit(self.backend).password:
            raise UserError(
                "server.backend holds a password, which every list of processes would show; "
                "put the address into MLFLOW_BACKEND_STORE_URI, or the password into PGPASSWORD or ~/.pgpass"
            )
