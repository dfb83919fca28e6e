//! Certificates: each site's authority issues those of its own nodes, and believes the others' because the signed
//! declaration names them. No key ever leaves its site.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use scores::DeviceError;

use super::config::{AUTHORITIES, CERTIFICATE, KEY};
use super::setup::{Account, Setup, make_folder};

/// Makes a site's authority in a folder, as `ca.pem` and `ca.key`, and gives its certificate for the declaration. One that
/// is there already is kept.
///
/// # Errors
/// When the files cannot be read or written.
pub fn make_authority(folder: &Path, site: &str) -> Result<String, DeviceError> {
    let doing = format!("make the authority of the site `{site}` in {}", folder.display());
    make_folder(folder, 0o700).map_err(|error| DeviceError::io(&*doing, error))?;
    let (certificate, key) = (folder.join(SITE_CERTIFICATE), folder.join(SITE_KEY));
    if certificate.exists() {
        return fs::read_to_string(&certificate).map_err(|error| DeviceError::io(doing, error));
    }
    let make = || -> Result<(String, String), rcgen::Error> {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("PostgreSQL of {site}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2120, 1, 1));
        Ok((params.self_signed(&pair)?.pem(), pair.serialize_pem()))
    };
    let (pem, secret) = make().map_err(|error| DeviceError::permanent(&*doing).because(error))?;
    let write = |path: &Path, content: &str, mode: u32| {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    };
    // The certificate last: where it is, the key is too.
    write(&key, &secret, 0o600)
        .and_then(|()| write(&certificate, &pem, 0o644))
        .map_err(|e| DeviceError::io(doing, e))?;
    Ok(pem)
}

/// Puts a node's certificate, its key and the authorities where PostgreSQL finds them; issues what is missing or old.
pub(super) fn prepare(setup: &Setup, account: &Account) -> Result<(), DeviceError> {
    let (source, target) = (Path::new(&setup.score.tls.folder), setup.layout().tls());
    let authorities: String = setup.score.tls.authorities.values().map(|pem| format!("{}\n", pem.trim())).collect();
    account.write(&target.join(AUTHORITIES), authorities.as_bytes())?;
    let read = |name: &str| {
        let path = source.join(name);
        fs::read_to_string(&path).map_err(|error| {
            let doing = format!("read {}", path.display());
            if error.kind() == std::io::ErrorKind::NotFound {
                let why = "make the site's authority there (ca.pem and ca.key), or the node's certificate (node.pem and \
                           node.key)";
                return DeviceError::permanent(doing).because(why);
            }
            DeviceError::io(doing, error)
        })
    };
    if source.join(CERTIFICATE).exists() {
        account.write(&target.join(KEY), read(KEY)?.as_bytes())?;
        return account.write(&target.join(CERTIFICATE), read(CERTIFICATE)?.as_bytes());
    }
    let (authority, secret) = (read(SITE_CERTIFICATE)?, read(SITE_KEY)?);
    if !setup.score.tls.authorities.values().any(|pem| same(pem, &authority)) {
        let doing = format!("issue the certificate of `{}`", setup.me);
        let why = format!(
            "{} is not among `tls.authorities`, so no other node would believe it; publish the score with it",
            source.join(SITE_CERTIFICATE).display()
        );
        return Err(DeviceError::permanent(doing).because(why));
    }
    let note = target.join(NOTE);
    let stamp = format!("{} {}", setup.me, blake3::hash(authority.trim().as_bytes()).to_hex());
    if fs::read_to_string(&note).is_ok_and(|known| known == stamp) && is_young(&target.join(CERTIFICATE)) {
        return Ok(());
    }
    let doing = || format!("issue the certificate of `{}`", setup.me);
    let (pem, key) =
        issue(setup, &authority, &secret).map_err(|error| DeviceError::permanent(doing()).because(error))?;
    // Only with the note is it complete; without, it is issued again.
    match fs::remove_file(&note) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(DeviceError::io(doing(), error)),
        _ => {}
    }
    account.write(&target.join(KEY), key.as_bytes())?;
    account.write(&target.join(CERTIFICATE), pem.as_bytes())?;
    account.write(&note, stamp.as_bytes())
}

fn issue(setup: &Setup, authority: &str, secret: &str) -> Result<(String, String), rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(authority, KeyPair::from_pem(secret)?)?;
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, setup.me.as_str());
    params.subject_alt_names = vec![SanType::DnsName(setup.me.as_str().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(seconds.saturating_sub(BACKDATED.as_secs()));
    params.not_after = epoch + Duration::from_secs(seconds) + VALID;
    Ok((params.signed_by(&pair, &issuer)?.pem(), pair.serialize_pem()))
}

/// Whether two files hold the same certificate, however their lines are broken.
fn same(a: &str, b: &str) -> bool {
    let plain = |pem: &str| pem.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    plain(a) == plain(b)
}

fn is_young(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < RENEWED_AFTER))
}

/// A site's certificate.
const SITE_CERTIFICATE: &str = "ca.pem";
/// A site's key.
const SITE_KEY: &str = "ca.key";
/// Says what the certificate was issued for.
const NOTE: &str = "issued-for";
/// How long a node's certificate is valid.
const VALID: Duration = Duration::from_secs(397 * 24 * 3600);
/// How old it may become before another is issued.
const RENEWED_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far the clocks of other nodes may be behind.
const BACKDATED: Duration = Duration::from_secs(2 * 24 * 3600);

#[cfg(test)]
mod tests;
