#include "model-server/gateway/metrics_page.h"

#include <algorithm>
#include <set>

#include "common/base/clock.h"

namespace model_server::gateway {
namespace {

constexpr absl::Duration kShared = absl::Seconds(1);
constexpr absl::Duration kTimeout = absl::Seconds(1);

// Calls `visit(line)` with each line, its end included.
template <typename Visit>
void ForEachLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1);
    visit(text.substr(0, end + 1));
    text.remove_prefix(end + 1);
  }
}

// The name in "# TYPE name counter", "# HELP name …" and "name{…} 1"; histograms and summaries have
// samples with endings of their own.
std::string_view NameIn(std::string_view line) {
  if (line.starts_with("# TYPE ") || line.starts_with("# HELP ")) line.remove_prefix(7);
  return line.substr(0, line.find_first_of("{ \n"));
}

}  // namespace

std::string WithoutFamiliesOf(std::string_view own, std::string_view text) {
  std::set<std::string, std::less<>> families;
  ForEachLine(own, [&](std::string_view line) {
    if (line.starts_with("# TYPE ")) families.emplace(NameIn(line));
  });
  std::string out;
  ForEachLine(text, [&](std::string_view line) {
    if (!families.contains(NameIn(line))) out += line;
  });
  return out;
}

MetricsPage::MetricsPage(metrics::Registry& registry, GatewayMetrics& gateway,
                         const std::string& upstream)
    : registry_(registry), gateway_(gateway) {
  if (!upstream.empty()) {
    client_ = std::make_unique<net::HttpClient>(net::HttpClientOptions{
        .base_url = upstream, .connect_timeout = kTimeout, .call_timeout = kTimeout});
  }
}

std::string MetricsPage::UpstreamText() {
  if (client_ == nullptr) return "";
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = base::RealClock().Monotonic();
  if (now < cached_until_) return cached_;
  const auto response = client_->Send({.target = "/metrics"}, kTimeout);
  const bool up = response.ok() && response->status == 200;
  gateway_.upstream_up.Set(up ? 1 : 0);
  cached_ = up ? response->body : "";
  if (!cached_.empty() && cached_.back() != '\n') cached_ += '\n';
  cached_until_ = now + kShared;
  return cached_;
}

std::string MetricsPage::Text() {
  const std::string upstream = UpstreamText();
  std::string own = registry_.Text();
  return own + WithoutFamiliesOf(own, upstream);
}

}  // namespace model_server::gateway
