#include "bench/serving/stream.h"

#include <memory>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/net/http_client.h"

namespace bench {
namespace {

std::string Body(const StreamOptions& options) {
  boost::json::object body = {
      {"prompt", options.prompt},
      {"max_tokens", options.max_tokens},
      {"temperature", 0},
      {"ignore_eos", true},
      {"cache_prompt", false},
      {"stream", true},
      {"stream_options", {{"include_usage", true}}},
  };
  if (!options.model.empty()) body["model"] = options.model;
  return boost::json::serialize(body);
}

// Takes one event's data; false when it is an error.
absl::Status TakeEvent(std::string_view data, absl::Duration now, StreamResult& result) {
  boost::system::error_code error;
  const boost::json::value event = boost::json::parse(data, error);
  if (error || !event.is_object())
    return absl::InternalError("the stream has an event that is no JSON");
  if (event.as_object().contains("error")) return absl::InternalError(std::string(data));
  if (const boost::json::value* choices = event.as_object().if_contains("choices");
      choices != nullptr && choices->is_array() && !choices->get_array().empty()) {
    const boost::json::value* text = choices->get_array()[0].as_object().if_contains("text");
    if (text != nullptr && text->is_string()) {
      if (result.arrivals.empty()) result.first_token = now;
      result.arrivals.push_back(now);
    }
  }
  if (const boost::json::value* usage = event.as_object().if_contains("usage");
      usage != nullptr && usage->is_object()) {
    result.prompt_tokens = usage->at("prompt_tokens").to_number<int>();
    result.completion_tokens = usage->at("completion_tokens").to_number<int>();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StreamResult> RunStream(const StreamOptions& options) {
  const base::Clock& clock = base::RealClock();
  net::HttpClient client({.base_url = options.url});
  net::Request request{.method = "POST", .target = "/v1/completions", .body = Body(options)};
  request.headers.Set("Content-Type", "application/json");

  StreamResult result;
  const absl::Duration started = clock.Monotonic();
  ASSIGN_OR_RETURN(const std::unique_ptr<net::HttpStream> stream,
                   client.Open(request, options.timeout));
  std::string buffer;
  while (true) {
    ASSIGN_OR_RETURN(const std::string piece, stream->Read(options.timeout));
    const absl::Duration now = clock.Monotonic() - started;
    if (piece.empty()) break;
    buffer += piece;
    if (stream->status() != 200) continue;
    for (size_t end; (end = buffer.find("\n\n")) != std::string::npos; buffer.erase(0, end + 2)) {
      const std::string_view event = std::string_view(buffer).substr(0, end);
      if (event.substr(0, 6) != "data: " || event == "data: [DONE]") continue;
      RETURN_IF_ERROR(TakeEvent(event.substr(6), now, result));
    }
  }
  if (stream->status() != 200) {
    return absl::InternalError(
        absl::StrFormat("%s: %d %s", options.url, stream->status(), buffer.substr(0, 300)));
  }
  if (result.arrivals.empty()) return absl::InternalError(options.url + ": no text came");
  if (result.completion_tokens == 0) {
    result.completion_tokens = static_cast<int>(result.arrivals.size());
  }
  return result;
}

}  // namespace bench
