#include "common/net/tls_codec.h"

#include <utility>

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_format.h"

#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace net {
namespace {

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Memory = std::unique_ptr<BIO, BioDeleter>;

std::string OpenSslText() {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  return reason == nullptr ? "unknown reason" : reason;
}

Memory Reader(const std::string& pem) {
  return Memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

absl::Status UseCertificate(SSL_CTX* context, const std::string& certificate_pem,
                            const std::string& private_key_pem) {
  ERR_clear_error();
  const Memory chain = Reader(certificate_pem);
  X509* leaf = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr);
  bool ok = leaf != nullptr && SSL_CTX_use_certificate(context, leaf) == 1;
  X509_free(leaf);
  while (ok) {
    X509* next = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr);
    if (next == nullptr) break;
    ok = SSL_CTX_add0_chain_cert(context, next) == 1;
  }
  ERR_clear_error();  // The end of the file is an error to OpenSSL.
  if (!ok) return absl::InvalidArgumentError("TLS certificate: the PEM text is not usable");
  const Memory key_text = Reader(private_key_pem);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr);
  ok = key != nullptr && SSL_CTX_use_PrivateKey(context, key) == 1 &&
       SSL_CTX_check_private_key(context) == 1;
  EVP_PKEY_free(key);
  if (!ok) {
    return absl::InvalidArgumentError(absl::StrFormat("TLS private key: %s", OpenSslText()));
  }
  return absl::OkStatus();
}

absl::Status TrustAuthorities(SSL_CTX* context, const std::string& ca_pem, bool announce) {
  const Memory text = Reader(ca_pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int count = 0;
  while (X509* ca = PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr)) {
    X509_STORE_add_cert(store, ca);
    if (announce) SSL_CTX_add_client_CA(context, ca);
    X509_free(ca);
    ++count;
  }
  ERR_clear_error();
  if (count == 0)
    return absl::InvalidArgumentError("TLS authority: no certificate in the PEM text");
  return absl::OkStatus();
}

TlsContext NewContext(const SSL_METHOD* method) {
  TlsContext context(SSL_CTX_new(method), SSL_CTX_free);
  CHECK(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
  return context;
}

int ChooseHttp11(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size,
                 const unsigned char* in, unsigned int in_size, void* /*unused*/) {
  static const unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kHttp11, sizeof(kHttp11) - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

bool IsAddress(const std::string& name) {
  unsigned char buffer[16];
  return inet_pton(AF_INET, name.c_str(), buffer) == 1 ||
         inet_pton(AF_INET6, name.c_str(), buffer) == 1;
}

bool IsCertificateReason(int reason) {
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<TlsContext> MakeServerTls(const std::string& certificate_pem,
                                         const std::string& private_key_pem,
                                         const std::string& client_ca_pem) {
  TlsContext context = NewContext(TLS_server_method());
  RETURN_IF_ERROR(UseCertificate(context.get(), certificate_pem, private_key_pem));
  SSL_CTX_set_alpn_select_cb(context.get(), ChooseHttp11, nullptr);
  // Tickets would outlive a rotated authority.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context.get(), 0);
  if (!client_ca_pem.empty()) {
    RETURN_IF_ERROR(TrustAuthorities(context.get(), client_ca_pem, /*announce=*/true));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  }
  return context;
}

absl::StatusOr<TlsContext> MakeClientTls(const TlsOptions& options) {
  TlsContext context = NewContext(TLS_client_method());
  if (options.ca_pem.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else {
    RETURN_IF_ERROR(TrustAuthorities(context.get(), options.ca_pem, /*announce=*/false));
  }
  if (options.certificate_pem.empty() != options.private_key_pem.empty()) {
    return absl::InvalidArgumentError("TLS client certificate: certificate and key go together");
  }
  if (!options.certificate_pem.empty()) {
    RETURN_IF_ERROR(
        UseCertificate(context.get(), options.certificate_pem, options.private_key_pem));
  }
  static const unsigned char kHttp11[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context.get(), kHttp11, sizeof(kHttp11) - 1);
  return context;
}

void TlsCodec::SslDeleter::operator()(ssl_st* ssl) const { SSL_free(ssl); }

TlsCodec::TlsCodec(const TlsContext& context) : context_(context), ssl_(SSL_new(context.get())) {
  CHECK(ssl_ != nullptr);
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  CHECK(in != nullptr && out != nullptr);
  BIO_set_mem_eof_return(in, -1);  // Empty means "later", not "the end".
  SSL_set_bio(ssl_.get(), in, out);
}

TlsCodec::~TlsCodec() = default;

std::unique_ptr<TlsCodec> TlsCodec::ForServer(const TlsContext& context) {
  std::unique_ptr<TlsCodec> codec(new TlsCodec(context));
  SSL_set_accept_state(codec->ssl_.get());
  return codec;
}

std::unique_ptr<TlsCodec> TlsCodec::ForClient(const TlsContext& context,
                                              const std::string& server_name, bool verify) {
  std::unique_ptr<TlsCodec> codec(new TlsCodec(context));
  SSL* ssl = codec->ssl_.get();
  SSL_set_connect_state(ssl);
  if (IsAddress(server_name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl, server_name.c_str());
    SSL_set1_host(ssl, server_name.c_str());
  }
  SSL_set_verify(ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  std::string nothing;
  codec->Feed("", &nothing).IgnoreError();  // Puts the first message of the handshake out.
  return codec;
}

absl::Status TlsCodec::Failure(int result, std::string_view what) {
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    ERR_clear_error();
    return absl::OkStatus();
  }
  if (error == SSL_ERROR_ZERO_RETURN) {
    peer_closed_ = true;
    return absl::OkStatus();
  }
  const int reason = ERR_GET_REASON(ERR_peek_last_error());
  const long verified = SSL_get_verify_result(ssl_.get());
  std::string text = OpenSslText();
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
    text = X509_verify_cert_error_string(verified);
  }
  text = absl::StrFormat("TLS %s: %s", what, text);
  return IsCertificateReason(reason) ? absl::UnauthenticatedError(text)
                                     : absl::UnavailableError(text);
}

absl::Status TlsCodec::Advance() {
  if (handshake_done_) return absl::OkStatus();
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) return Failure(result, "handshake");
  handshake_done_ = true;
  const std::string waiting = std::move(waiting_);
  return waiting.empty() ? absl::OkStatus() : Send(waiting);
}

absl::Status TlsCodec::Feed(std::string_view cipher, std::string* plain) {
  if (!cipher.empty()) {
    CHECK(BIO_write(SSL_get_rbio(ssl_.get()), cipher.data(), static_cast<int>(cipher.size())) ==
          static_cast<int>(cipher.size()));
  }
  RETURN_IF_ERROR(Advance());
  char buffer[16 << 10];
  while (handshake_done_ && !peer_closed_) {
    ERR_clear_error();
    const int size = SSL_read(ssl_.get(), buffer, sizeof(buffer));
    if (size <= 0) return Failure(size, "read");
    plain->append(buffer, static_cast<size_t>(size));
  }
  return absl::OkStatus();
}

absl::Status TlsCodec::Send(std::string_view plain) {
  if (!handshake_done_) {
    waiting_.append(plain);
    return absl::OkStatus();
  }
  while (!plain.empty()) {
    ERR_clear_error();
    const int size = SSL_write(ssl_.get(), plain.data(),
                               static_cast<int>(std::min<size_t>(plain.size(), size_t{1} << 20)));
    if (size <= 0) {
      const absl::Status status = Failure(size, "write");
      return status.ok() ? absl::UnavailableError("TLS write: the peer renegotiates") : status;
    }
    plain.remove_prefix(static_cast<size_t>(size));
  }
  return absl::OkStatus();
}

void TlsCodec::SendClose() {
  if (handshake_done_) SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

std::string TlsCodec::TakeOutput() {
  BIO* out = SSL_get_wbio(ssl_.get());
  std::string bytes(BIO_ctrl_pending(out), '\0');
  if (!bytes.empty()) {
    const int size = BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
    bytes.resize(size > 0 ? static_cast<size_t>(size) : 0);
  }
  return bytes;
}

std::vector<std::string> TlsCodec::SubjectEntries(int nid) const {
  std::vector<std::string> entries;
  X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return entries;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  for (int at = X509_NAME_get_index_by_NID(subject, nid, -1); at >= 0;
       at = X509_NAME_get_index_by_NID(subject, nid, at)) {
    unsigned char* text = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size >= 0) entries.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  return entries;
}

std::string TlsCodec::peer_common_name() const {
  const std::vector<std::string> names = SubjectEntries(NID_commonName);
  return names.empty() ? "" : names.back();
}

std::vector<std::string> TlsCodec::peer_organizations() const {
  return SubjectEntries(NID_organizationName);
}

}  // namespace net
