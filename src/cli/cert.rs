//! `quorate cert`: certificates for clusters without a PKI of their own, made without any member.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use quorate_tls::CertificateSubject;

use super::{
    certificate_writer::{self, AuthorityFolder, CertificatePaths, certificate_paths},
    error::CliError,
    output,
};

/// The commands.
#[derive(Debug, Args)]
pub(super) struct CertArgs {
    #[command(subcommand)]
    command: CertCommand,
}

#[derive(Debug, Subcommand)]
enum CertCommand {
    /// Make the authority of one cluster: ca.pem for everyone, ca.key for nobody else
    CreateCa(CreateCaArgs),
    /// Make a certificate, or a new one in its place: NAME.pem and NAME.key
    Issue(IssueArgs),
    /// Revoke certificates: DIR/crl.pem is the list of those that are revoked
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
struct CreateCaArgs {
    /// The folder for ca.pem and ca.key
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The cluster's word for itself in certificates; made up if it is left out
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("who").required(true).args(["name", "balancer", "client"]))]
struct IssueArgs {
    /// The folder of ca.pem and ca.key
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// For the member of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// For a balancer
    #[arg(long, value_name = "NAME")]
    balancer: Option<String>,
    /// For a person or a program that commands the cluster
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// A host under which browsers and scrapers call the member; members need none
    #[arg(long, value_name = "HOST", conflicts_with_all = ["balancer", "client"])]
    host: Vec<String>,
    /// For how many days it is valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=825))]
    days: u32,
    /// The folder for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct RevokeArgs {
    /// The folder of ca.pem and ca.key, and of crl.pem
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// The certificates (PEM)
    #[arg(required = true, value_name = "FILE")]
    certificates: Vec<PathBuf>,
}

/// Makes what is asked for, and prints the paths of the files.
pub(super) fn run(args: CertArgs) -> Result<(), CliError> {
    match args.command {
        CertCommand::CreateCa(args) => create_ca(&args),
        CertCommand::Issue(args) => issue(args),
        CertCommand::Revoke(args) => {
            let list = AuthorityFolder(&args.ca).revoke(&args.certificates)?;
            output::line(list.display().to_string())
        }
    }
}

fn create_ca(args: &CreateCaArgs) -> Result<(), CliError> {
    print(&AuthorityFolder(&args.out).create(args.domain.as_deref())?)
}

fn issue(args: IssueArgs) -> Result<(), CliError> {
    let authority = AuthorityFolder(&args.ca).load()?;
    let (name, subject) = match (args.name, args.balancer, args.client) {
        (Some(name), ..) => (name.clone(), CertificateSubject::MemberName(name)),
        (_, Some(name), _) => (name.clone(), CertificateSubject::Balancer(name)),
        (_, _, Some(name)) => (name.clone(), CertificateSubject::Client(name)),
        (None, None, None) => {
            return Err(CliError::Usage("--name, --balancer or --client".into()));
        }
    };
    let paths = certificate_paths(&args.out, &name);
    certificate_writer::issue(&authority, subject, &args.host, Some(args.days), &paths)?;
    print(&paths)
}

fn print(paths: &CertificatePaths) -> Result<(), CliError> {
    output::line(paths.cert.display().to_string())?;
    output::line(paths.key.display().to_string())
}
