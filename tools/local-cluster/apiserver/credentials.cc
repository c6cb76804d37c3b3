#include "local-cluster/apiserver/credentials.h"

#include <functional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/net/digest.h"

namespace local_cluster {
namespace {

using Maker = std::function<absl::StatusOr<net::CertificatePair>()>;

absl::StatusOr<net::CertificatePair> LoadPair(const std::string& folder, const std::string& name,
                                              const Maker& make) {
  if (folder.empty()) return make();
  const std::string certificate = folder + "/" + name + ".crt";
  const std::string key = folder + "/" + name + ".key";
  if (base::FileExists(certificate) && base::FileExists(key)) {
    net::CertificatePair pair;
    ASSIGN_OR_RETURN(pair.certificate_pem, base::ReadFile(certificate, 1 << 20));
    ASSIGN_OR_RETURN(pair.private_key_pem, base::ReadFile(key, 1 << 20));
    return pair;
  }
  ASSIGN_OR_RETURN(net::CertificatePair pair, make());
  RETURN_IF_ERROR(base::WriteFileAtomic(key, pair.private_key_pem, 0600));
  RETURN_IF_ERROR(base::WriteFileAtomic(certificate, pair.certificate_pem, 0600));
  return pair;
}

absl::StatusOr<std::string> LoadTokenKey(const std::string& folder) {
  if (folder.empty()) return net::RandomHex(64);
  const std::string path = folder + "/token.key";
  if (base::FileExists(path)) return base::ReadFile(path, 1 << 10);
  std::string key = net::RandomHex(64);
  RETURN_IF_ERROR(base::WriteFileAtomic(path, key, 0600));
  return key;
}

std::string Base64(const std::string& text) {
  return absl::Base64Escape(absl::string_view(text.data(), text.size()));
}

}  // namespace

absl::StatusOr<Credentials> LoadCredentials(const std::string& folder) {
  constexpr int kDays = 3650;
  if (!folder.empty()) RETURN_IF_ERROR(base::CreateDirectories(folder, 0700));
  Credentials all;
  ASSIGN_OR_RETURN(all.ca,
                   LoadPair(folder, "ca", [] { return net::MakeCa("local-cluster", kDays); }));
  ASSIGN_OR_RETURN(
      all.server, LoadPair(folder, "apiserver", [&all] {
        return net::Issue(
            all.ca, {.common_name = "kube-apiserver",
                     .organizations = {},
                     .subject_alternative_names = {"localhost", "127.0.0.1", "::1", "127.96.0.1",
                                                   "kubernetes", "kubernetes.default",
                                                   "kubernetes.default.svc",
                                                   "kubernetes.default.svc.cluster.local"},
                     .days = kDays});
      }));
  ASSIGN_OR_RETURN(all.admin, LoadPair(folder, "admin", [&all] {
                     return net::Issue(all.ca, {.common_name = "kubernetes-admin",
                                                .organizations = {"system:masters"},
                                                .subject_alternative_names = {},
                                                .days = kDays});
                   }));
  ASSIGN_OR_RETURN(all.token_key, LoadTokenKey(folder));
  return all;
}

std::string KubeconfigText(const Credentials& credentials, std::string_view name,
                           std::string_view url) {
  return absl::StrFormat(
      "apiVersion: v1\n"
      "kind: Config\n"
      "current-context: \"%s\"\n"
      "clusters:\n"
      "- name: \"%s\"\n"
      "  cluster:\n"
      "    server: \"%s\"\n"
      "    certificate-authority-data: %s\n"
      "users:\n"
      "- name: \"%s\"\n"
      "  user:\n"
      "    client-certificate-data: %s\n"
      "    client-key-data: %s\n"
      "contexts:\n"
      "- name: \"%s\"\n"
      "  context:\n"
      "    cluster: \"%s\"\n"
      "    user: \"%s\"\n",
      name, name, url, Base64(credentials.ca.certificate_pem), name,
      Base64(credentials.admin.certificate_pem), Base64(credentials.admin.private_key_pem), name,
      name, name);
}

}  // namespace local_cluster
