#include "common/kube/credentials.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace kube {
namespace {

constexpr absl::Duration kReadAgain = absl::Seconds(60);
constexpr uint64_t kFileBytesMax = 1 << 20;

class FixedCredential final : public CredentialSource {
 public:
  explicit FixedCredential(Credential credential) : credential_(std::move(credential)) {}
  absl::StatusOr<Credential> Get(bool) override { return credential_; }

 private:
  const Credential credential_;
};

class FileCredential final : public CredentialSource {
 public:
  FileCredential(CredentialFiles files, Credential fixed, const base::Clock& clock)
      : files_(std::move(files)), fixed_(std::move(fixed)), clock_(clock) {}

  absl::StatusOr<Credential> Get(bool renew) override {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = clock_.Monotonic();
    if (cached_ && !renew && now - read_at_ < kReadAgain) return *cached_;
    absl::StatusOr<Credential> fresh = Read();
    if (!fresh.ok() && cached_) {
      // A file that is just being replaced: what we have may still be good.
      base::LogWarning("credentials not readable, keeping the old ones",
                       {{"error", fresh.status()}});
      return *cached_;
    }
    RETURN_IF_ERROR(fresh.status());
    cached_ = *std::move(fresh);
    read_at_ = now;
    return *cached_;
  }

 private:
  absl::StatusOr<Credential> Read() const {
    Credential credential = fixed_;
    if (!files_.token_path.empty()) {
      ASSIGN_OR_RETURN(std::string token, base::ReadFile(files_.token_path, kFileBytesMax));
      absl::StripAsciiWhitespace(&token);
      if (token.find_first_of("\r\n") != std::string::npos || token.empty()) {
        return absl::InvalidArgumentError(
            absl::StrFormat("%s holds no token on a single line", files_.token_path));
      }
      credential.authorization = "Bearer " + token;
    }
    if (!files_.certificate_path.empty()) {
      ASSIGN_OR_RETURN(credential.certificate_pem,
                       base::ReadFile(files_.certificate_path, kFileBytesMax));
    }
    if (!files_.private_key_path.empty()) {
      ASSIGN_OR_RETURN(credential.private_key_pem,
                       base::ReadFile(files_.private_key_path, kFileBytesMax));
    }
    return credential;
  }

  const CredentialFiles files_;
  const Credential fixed_;
  const base::Clock& clock_;
  absl::Mutex mutex_;
  std::optional<Credential> cached_ ABSL_GUARDED_BY(mutex_);
  absl::Duration read_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<CredentialSource> MakeFixedCredential(Credential credential) {
  return std::make_unique<FixedCredential>(std::move(credential));
}

std::unique_ptr<CredentialSource> MakeFileCredential(CredentialFiles files, Credential fixed,
                                                     const base::Clock& clock) {
  return std::make_unique<FileCredential>(std::move(files), std::move(fixed), clock);
}

}  // namespace kube
