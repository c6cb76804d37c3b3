#include "model-server/gateway/api_keys.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/net/digest.h"

namespace model_server::gateway {
namespace {

constexpr absl::Duration kReadEvery = absl::Seconds(1);
constexpr uint64_t kFileBytesMax = 1 << 20;

bool ParseScopes(const std::string& text, std::vector<Scope>* scopes) {
  std::istringstream words(text);
  std::string word;
  while (std::getline(words, word, ',')) {
    if (word == "infer") {
      scopes->push_back(Scope::kInfer);
    } else if (word == "admin") {
      scopes->push_back(Scope::kAdmin);
    } else if (word == "metrics") {
      scopes->push_back(Scope::kMetrics);
    } else {
      return false;
    }
  }
  return !scopes->empty();
}

bool ParseLimit(const std::string& word, ApiKey* key) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) return false;
  double value = 0;
  if (!absl::SimpleAtod(word.substr(equals + 1), &value) || !(value > 0)) return false;
  const std::string name = word.substr(0, equals);
  if (name == "requests_per_minute") {
    key->requests_per_minute = value;
  } else if (name == "tokens_per_minute") {
    key->tokens_per_minute = value;
  } else {
    return false;
  }
  return true;
}

absl::Status ParseLine(const std::string& line, ApiKey* key) {
  std::istringstream words(line);
  std::string hash, scopes, word;
  words >> hash >> scopes;
  const bool hex = hash.size() == 64 && std::ranges::all_of(hash, [](char c) {
                     return absl::ascii_isxdigit(static_cast<unsigned char>(c));
                   });
  if (!hex) return absl::InvalidArgumentError("the first word must be 64 hexadecimal digits");
  key->hash = absl::HexStringToBytes(hash);
  if (!ParseScopes(scopes, &key->scopes)) {
    return absl::InvalidArgumentError("the second word must be scopes: infer, admin, metrics");
  }
  while (words >> word) {
    if (!ParseLimit(word, key)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s is no limit: give requests_per_minute=N or tokens_per_minute=N", word));
    }
  }
  return absl::OkStatus();
}

int SecondsUntil(double missing, double per_minute) {
  return static_cast<int>(std::clamp(std::ceil(missing * 60 / per_minute), 1.0, 60.0));
}

}  // namespace

bool ApiKey::Has(Scope scope) const { return std::ranges::find(scopes, scope) != scopes.end(); }

void ApiKey::Refill(absl::Duration now) {
  const double minutes = started_ ? absl::ToDoubleMinutes(now - refilled_) : 1;
  started_ = true;
  refilled_ = now;
  requests_left_ = std::min(requests_left_ + minutes * requests_per_minute, requests_per_minute);
  tokens_left_ = std::min(tokens_left_ + minutes * tokens_per_minute, tokens_per_minute);
}

int ApiKey::TakeRequest(const base::Clock& clock, bool* tokens) {
  absl::MutexLock lock(&mutex_);
  Refill(clock.Monotonic());
  *tokens = tokens_per_minute > 0 && tokens_left_ <= 0;
  if (*tokens) return SecondsUntil(1 - tokens_left_, tokens_per_minute);
  if (requests_per_minute > 0) {
    if (requests_left_ < 1) return SecondsUntil(1 - requests_left_, requests_per_minute);
    requests_left_ -= 1;
  }
  return 0;
}

void ApiKey::UseTokens(double count) {
  absl::MutexLock lock(&mutex_);
  tokens_left_ -= count;
}

void ApiKey::CopyUseTo(ApiKey& other) const {
  absl::MutexLock lock(&mutex_);
  absl::MutexLock other_lock(&other.mutex_);
  other.started_ = started_;
  other.refilled_ = refilled_;
  other.requests_left_ = requests_left_;
  other.tokens_left_ = tokens_left_;
}

absl::StatusOr<std::vector<std::shared_ptr<ApiKey>>> ParseApiKeys(const std::string& content) {
  std::vector<std::shared_ptr<ApiKey>> keys;
  std::istringstream lines(content);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const size_t start = line.find_first_not_of(" \t\r");
    if (start == std::string::npos || line[start] == '#') continue;
    auto key = std::make_shared<ApiKey>();
    RETURN_IF_ERROR(base::Annotate(ParseLine(line, key.get()), absl::StrFormat("line %d", number)));
    keys.push_back(std::move(key));
  }
  if (keys.empty()) return absl::InvalidArgumentError("it has no key");
  return keys;
}

ApiKeys::ApiKeys(std::string path, const base::Clock& clock)
    : path_(std::move(path)), clock_(clock) {}

absl::StatusOr<std::unique_ptr<ApiKeys>> ApiKeys::Open(const std::string& path,
                                                       const base::Clock& clock) {
  std::unique_ptr<ApiKeys> keys(new ApiKeys(path, clock));
  ASSIGN_OR_RETURN(std::string content, base::ReadFile(path, kFileBytesMax));
  auto parsed = ParseApiKeys(content);
  if (!parsed.ok()) return base::Annotate(parsed.status(), absl::StrFormat("keys file %s", path));
  {
    absl::MutexLock lock(&keys->mutex_);
    keys->keys_ = *std::move(parsed);
    keys->content_ = std::move(content);
  }
  keys->thread_ = base::StartThread("api-keys", [raw = keys.get()](std::stop_token) {
    while (true) {
      {
        absl::MutexLock lock(&raw->mutex_);
        if (raw->clock_.AwaitUntil(raw->mutex_, absl::Condition(&raw->stopping_),
                                   raw->clock_.Monotonic() + kReadEvery)) {
          return;
        }
      }
      raw->Refresh();
    }
  });
  return keys;
}

ApiKeys::~ApiKeys() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

std::shared_ptr<ApiKey> ApiKeys::Find(std::string_view key) const {
  const std::string hash = net::Sha256(key);
  std::shared_ptr<ApiKey> found;
  absl::MutexLock lock(&mutex_);
  for (const auto& candidate : keys_) {
    if (net::EqualInConstantTime(candidate->hash, hash)) found = candidate;
  }
  return found;
}

void ApiKeys::Refresh() {
  auto content = base::ReadFile(path_, kFileBytesMax);
  absl::MutexLock lock(&mutex_);
  if (content.ok() && *content == content_) return;
  auto parsed = content.ok()
                    ? ParseApiKeys(*content)
                    : absl::StatusOr<std::vector<std::shared_ptr<ApiKey>>>(content.status());
  if (content.ok()) content_ = *content;
  if (!parsed.ok()) {
    base::LogWarning("keys file not usable; the old keys stay", {{"error", parsed.status()}});
    return;
  }
  for (const auto& key : *parsed) {
    for (const auto& old : keys_) {
      if (old->hash == key->hash) old->CopyUseTo(*key);
    }
  }
  keys_ = *std::move(parsed);
  base::LogInfo("keys file read", {{"keys", keys_.size()}});
}

}  // namespace model_server::gateway
