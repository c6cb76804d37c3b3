#include "gpu-provisioner/arm/arm_client.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "common/base/log.h"
#include "common/net/digest.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kReadTimeout = absl::Seconds(20);
constexpr absl::Duration kWriteTimeout = absl::Seconds(70);  // ARM's own proxy cuts at 60 s.
constexpr int kReadTries = 3;

bool IsRead(ArmOperation operation) {
  return operation != ArmOperation::kPut && operation != ArmOperation::kDelete &&
         operation != ArmOperation::kAbort;
}

bool WorthRepeating(const ArmAnswer& answer) {
  if (!answer.sent) return false;
  return answer.status == 0 || answer.status == 502 || answer.status == 503 || answer.status == 504;
}

// claims="…" of a WWW-Authenticate header.
std::string ClaimsOf(const net::Headers& headers) {
  const auto challenge = headers.Find("WWW-Authenticate");
  if (!challenge) return "";
  const size_t at = challenge->find("claims=\"");
  if (at == std::string_view::npos) return "";
  const size_t end = challenge->find('"', at + 8);
  if (end == std::string_view::npos) return "";
  return std::string(challenge->substr(at + 8, end - at - 8));
}

bool PausesAll(std::string_view code) {
  return code.rfind("Subscription", 0) == 0 || code.rfind("Resource", 0) == 0;
}

// Behind `from`, cuts the text at the next blank, quote or end.
void CutBehind(std::string& text, std::string_view from) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + 1)) {
    const size_t start = at + from.size();
    size_t end = start;
    while (end < text.size() && !absl::ascii_isspace(text[end]) && text[end] != '"' &&
           text[end] != '\'') {
      ++end;
    }
    text.replace(start, end - start, "…");
  }
}

}  // namespace

absl::Duration RetryAfterOf(const net::Headers& headers, absl::Time now) {
  for (const char* name : {"retry-after-ms", "x-ms-retry-after-ms"}) {
    double milliseconds = 0;
    const auto value = headers.Find(name);
    if (value && absl::SimpleAtod(absl::string_view(value->data(), value->size()), &milliseconds)) {
      return absl::Milliseconds(std::clamp(milliseconds, 0.0, 1e9));
    }
  }
  const auto value = headers.Find("Retry-After");
  if (!value) return absl::ZeroDuration();
  const absl::string_view text(value->data(), value->size());
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) return absl::Seconds(std::clamp(seconds, 0.0, 1e6));
  absl::Time date;
  std::string error;
  if (absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", text, &date, &error)) {
    return std::max(absl::ZeroDuration(), date - now);
  }
  return absl::ZeroDuration();
}

std::string Redacted(std::string_view text) {
  std::string result(text);
  for (const std::string_view mark :
       {"Bearer ", "client_assertion=", "client_secret=", "access_token=", "access_token\":\"",
        "claims=\"", "&t=", "&c=", "&s=", "&h=", "?t="}) {
    CutBehind(result, mark);
  }
  return result;
}

ArmClient::ArmClient(HttpSender& sender, TokenCache& tokens, Buckets& buckets,
                     const base::Clock& clock, Options options)
    : sender_(sender), tokens_(tokens), buckets_(buckets), clock_(clock), options_([&options] {
        if (!options.sleep) options.sleep = [](absl::Duration wait) { absl::SleepFor(wait); };
        return std::move(options);
      }()) {}

ArmAnswer ArmClient::Call(const ArmCall& call) {
  const absl::Duration wait = buckets_.Take(call.operation, call.pool);
  if (wait > absl::ZeroDuration()) {
    ArmAnswer held;
    held.failure = {.error_class = ErrorClass::kThrottled,
                    .message = "held back by our own rate limit",
                    .retry_after = wait};
    return held;
  }
  const int tries = IsRead(call.operation) ? kReadTries : 1;
  ArmAnswer answer;
  for (int i = 0; i < tries; ++i) {
    if (i > 0) options_.sleep(absl::Milliseconds(500 << (i - 1)));
    const absl::Duration start = clock_.Monotonic();
    answer = WithToken(call);
    Count(call, answer, clock_.Monotonic() - start);
    if (!WorthRepeating(answer)) break;
  }
  NoteThrottling(call, answer);
  return answer;
}

ArmAnswer ArmClient::WithToken(const ArmCall& call) {
  for (int i = 0;; ++i) {
    const absl::StatusOr<std::string> token = tokens_.Get();
    if (!token.ok()) {
      ArmAnswer refused;
      refused.failure = {.error_class = ErrorClass::kToken,
                         .code = "TokenRefused",
                         .message = std::string(token.status().message())};
      return refused;
    }
    ArmAnswer answer = Try(call, *token);
    if (answer.status != 401 || i > 0) return answer;
    tokens_.Drop(*token, ClaimsOf(answer.headers));
  }
}

ArmAnswer ArmClient::Try(const ArmCall& call, const std::string& token) {
  net::Request request{
      .method = call.method, .target = call.target, .headers = call.headers, .body = call.body};
  if (!token.empty()) request.headers.Set("Authorization", "Bearer " + token);
  if (!call.body.empty()) request.headers.Set("Content-Type", "application/json");
  request.headers.Set("Accept", "application/json");
  request.headers.Set("x-ms-client-request-id", net::RandomUuid());
  if (!call.correlation.empty()) {
    request.headers.Set("x-ms-correlation-request-id", call.correlation);
  }
  request.headers.Set("x-ms-return-client-request-id", "true");

  const absl::Duration timeout = IsRead(call.operation) ? kReadTimeout : kWriteTimeout;
  absl::StatusOr<net::Response> response = sender_.Send(request, timeout);
  ArmAnswer answer;
  answer.sent = true;
  if (!response.ok()) {
    answer.failure = UnknownOutcome(Redacted(std::string(response.status().message())));
    return answer;
  }
  answer.status = response->status;
  answer.headers = std::move(response->headers);
  answer.body = std::move(response->body);
  if (answer.status < 200 || answer.status > 299) {
    const auto cause = answer.headers.Find("x-ms-failure-cause");
    answer.failure = ClassifyBody(answer.status, answer.body, cause == "gateway");
    answer.failure.message = Redacted(answer.failure.message);
    answer.failure.retry_after = RetryAfterOf(answer.headers, clock_.Now());
  }
  return answer;
}

void ArmClient::NoteThrottling(const ArmCall& call, ArmAnswer& answer) {
  if (!answer.sent || answer.failure.error_class != ErrorClass::kThrottled) return;
  absl::Duration& wait = answer.failure.retry_after;
  const bool all = PausesAll(answer.failure.code);
  wait = all ? buckets_.PauseAll(!IsRead(call.operation), wait)
             : buckets_.Pause(call.operation, call.pool, wait);
  base::LogWarning("throttled by Azure", {{"operation", ArmOperationName(call.operation)},
                                          {"pool", call.pool},
                                          {"code", answer.failure.code},
                                          {"wait", wait}});
  if (options_.registry == nullptr) return;
  options_.registry
      ->GetCounter("gpu_provisioner_arm_throttled_seconds_total",
                   "Time that a rate limit of Azure held calls back",
                   {{"bucket", call.operation == ArmOperation::kPut ? "put" : "shared"}})
      .Add(absl::ToDoubleSeconds(wait));
}

void ArmClient::Count(const ArmCall& call, const ArmAnswer& answer, absl::Duration took) {
  if (options_.registry == nullptr || !answer.sent) return;
  const std::string operation(ArmOperationName(call.operation));
  options_.registry
      ->GetCounter("gpu_provisioner_arm_requests_total", "Calls to the Azure Resource Manager",
                   {{"operation", operation},
                    {"code", absl::StrFormat("%d", answer.status)},
                    {"class", std::string(ErrorClassName(answer.failure.error_class))}})
      .Add();
  options_.registry
      ->GetHistogram("gpu_provisioner_arm_request_seconds", "Time of calls to Azure",
                     metrics::DurationBuckets(), {{"operation", operation}})
      .Observe(absl::ToDoubleSeconds(took));
  for (const auto& [name, kind] :
       {std::pair{"reads", "reads"}, {"writes", "writes"}, {"deletes", "deletes"}}) {
    const auto left =
        answer.headers.Find(absl::StrFormat("x-ms-ratelimit-remaining-subscription-%s", name));
    double number = 0;
    if (!left || !absl::SimpleAtod(absl::string_view(left->data(), left->size()), &number))
      continue;
    options_.registry
        ->GetGauge("gpu_provisioner_arm_ratelimit_remaining", "Calls that Azure will still take",
                   {{"kind", kind}})
        .Set(number);
  }
}

}  // namespace gpu_provisioner
