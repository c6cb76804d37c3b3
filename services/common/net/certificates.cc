#include "common/net/certificates.h"

#include <memory>

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace net {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Memory = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

absl::Status OpenSslError(std::string_view what) {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s", what, text));
}

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

absl::StatusOr<CertificatePair> ToPem(X509* certificate, EVP_PKEY* key) {
  const Memory certificate_text(BIO_new(BIO_s_mem()));
  const Memory key_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(certificate_text.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpenSslError("write certificate");
  }
  return CertificatePair{Text(certificate_text.get()), Text(key_text.get())};
}

absl::Status AddName(X509_NAME* name, const char* field, std::string_view value) {
  if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(value.data()),
                                 static_cast<int>(value.size()), -1, 0) != 1) {
    return OpenSslError(absl::StrFormat("certificate name %s", value));
  }
  return absl::OkStatus();
}

absl::Status AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpenSslError(absl::StrFormat("certificate extension %s", value));
  }
  return absl::OkStatus();
}

bool IsAddress(const std::string& name) {
  unsigned char buffer[16];
  return inet_pton(AF_INET, name.c_str(), buffer) == 1 ||
         inet_pton(AF_INET6, name.c_str(), buffer) == 1;
}

absl::StatusOr<std::string> AlternativeNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    // The text goes through OpenSSL's configuration syntax, where these would start something new.
    if (name.empty() || name.find_first_of(",;:\n\r\\\"' ") != std::string::npos) {
      if (!IsAddress(name)) {
        return absl::InvalidArgumentError(
            absl::StrFormat("certificate for \"%s\": not a DNS name or address", name));
      }
    }
    if (!text.empty()) text += ",";
    text += (IsAddress(name) ? "IP:" : "DNS:") + name;
  }
  return text;
}

// A certificate with key, serial number and dates, not yet signed.
absl::StatusOr<Certificate> Blank(EVP_PKEY* key, int days) {
  Certificate certificate(X509_new());
  unsigned char serial[16];
  if (RAND_bytes(serial, sizeof(serial)) != 1) return OpenSslError("random serial number");
  serial[0] &= 0x7f;  // Positive, RFC 5280.
  const std::unique_ptr<BIGNUM, Deleter<BN_free>> number(
      BN_bin2bn(serial, sizeof(serial), nullptr));
  if (X509_set_version(certificate.get(), 2) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) == nullptr ||
      X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600) == nullptr ||
      X509_time_adj_ex(X509_getm_notAfter(certificate.get()), days, 0, nullptr) == nullptr ||
      X509_set_pubkey(certificate.get(), key) != 1) {
    return OpenSslError("make certificate");
  }
  return certificate;
}

absl::Status Sign(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, EVP_sha256()) == 0) return OpenSslError("sign certificate");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CertificatePair> MakeCa(std::string_view common_name, int days) {
  const Key key(EVP_EC_gen("P-256"));
  if (!key) return OpenSslError("make key");
  ASSIGN_OR_RETURN(const Certificate certificate, Blank(key.get(), days));
  X509* x509 = certificate.get();
  RETURN_IF_ERROR(AddName(X509_get_subject_name(x509), "CN", common_name));
  X509_set_issuer_name(x509, X509_get_subject_name(x509));
  RETURN_IF_ERROR(AddExtension(x509, x509, NID_basic_constraints, "critical,CA:TRUE"));
  RETURN_IF_ERROR(AddExtension(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign"));
  RETURN_IF_ERROR(AddExtension(x509, x509, NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(Sign(x509, key.get()));
  return ToPem(x509, key.get());
}

absl::StatusOr<CertificatePair> Issue(const CertificatePair& ca,
                                      const CertificateRequest& request) {
  const Memory ca_text(
      BIO_new_mem_buf(ca.certificate_pem.data(), static_cast<int>(ca.certificate_pem.size())));
  const Memory ca_key_text(
      BIO_new_mem_buf(ca.private_key_pem.data(), static_cast<int>(ca.private_key_pem.size())));
  const Certificate ca_certificate(PEM_read_bio_X509(ca_text.get(), nullptr, nullptr, nullptr));
  const Key ca_key(PEM_read_bio_PrivateKey(ca_key_text.get(), nullptr, nullptr, nullptr));
  if (!ca_certificate || !ca_key) return OpenSslError("read authority");

  const Key key(EVP_EC_gen("P-256"));
  if (!key) return OpenSslError("make key");
  ASSIGN_OR_RETURN(const Certificate certificate, Blank(key.get(), request.days));
  X509* x509 = certificate.get();
  for (const std::string& organization : request.organizations) {
    RETURN_IF_ERROR(AddName(X509_get_subject_name(x509), "O", organization));
  }
  RETURN_IF_ERROR(AddName(X509_get_subject_name(x509), "CN", request.common_name));
  X509_set_issuer_name(x509, X509_get_subject_name(ca_certificate.get()));

  X509* issuer = ca_certificate.get();
  RETURN_IF_ERROR(AddExtension(x509, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  RETURN_IF_ERROR(AddExtension(x509, issuer, NID_key_usage, "critical,digitalSignature"));
  RETURN_IF_ERROR(AddExtension(x509, issuer, NID_ext_key_usage, "serverAuth,clientAuth"));
  RETURN_IF_ERROR(AddExtension(x509, issuer, NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(AddExtension(x509, issuer, NID_authority_key_identifier, "keyid"));
  ASSIGN_OR_RETURN(const std::string names, AlternativeNames(request.subject_alternative_names));
  if (!names.empty()) RETURN_IF_ERROR(AddExtension(x509, issuer, NID_subject_alt_name, names));
  RETURN_IF_ERROR(Sign(x509, ca_key.get()));
  return ToPem(x509, key.get());
}

}  // namespace net
