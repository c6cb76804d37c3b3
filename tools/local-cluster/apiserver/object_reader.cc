#include "local-cluster/apiserver/object_reader.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/net/digest.h"
#include "local-cluster/apiserver/encoder.h"

namespace local_cluster {
namespace {

constexpr absl::Duration kRevisionWait = absl::Seconds(3);
constexpr size_t kSignatureDigits = 32;

absl::StatusOr<uint64_t> ParseRevision(std::string_view text) {
  uint64_t revision = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), revision);
  if (error != std::errc() || end != text.data() + text.size()) {
    return BadRequestError(
        absl::StrFormat("resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing "
                        "\"%s\": invalid syntax",
                        text, text));
  }
  return revision;
}

// "namespace/name", as the store orders objects.
std::string PathOf(const StoredObject& object) {
  return absl::StrFormat("%s/%s", kube::StringAt(*object.value, {"metadata", "namespace"}),
                         kube::StringAt(*object.value, {"metadata", "name"}));
}

ErrorCause Cause(std::string_view field, std::string_view message) {
  return ForbiddenField(field, message);
}

absl::Status CheckWatchList(const RequestOptions& options) {
  if (options.send_initial_events && options.resource_version_match != "NotOlderThan") {
    return InvalidError({"meta.k8s.io", "listoptions", "ListOptions"}, "",
                        {Cause("resourceVersionMatch",
                               "sendInitialEvents requires setting resourceVersionMatch to "
                               "NotOlderThan")});
  }
  if (!options.send_initial_events && !options.resource_version_match.empty()) {
    return InvalidError({"meta.k8s.io", "listoptions", "ListOptions"}, "",
                        {Cause("resourceVersionMatch",
                               "resourceVersionMatch is forbidden for watch unless "
                               "sendInitialEvents is provided")});
  }
  return absl::OkStatus();
}

absl::Duration WatchTimeout(const RequestOptions& options) {
  if (options.timeout_seconds > 0) return absl::Seconds(options.timeout_seconds);
  thread_local absl::BitGen random;
  return absl::Seconds(absl::Uniform(random, 1800, 3600));
}

}  // namespace

ObjectReader::ObjectReader(const Store& store, WatchHub& hub, const base::Clock& clock)
    : store_(store), hub_(hub), clock_(clock), token_key_(net::RandomHex(64)) {}

absl::StatusOr<net::Response> ObjectReader::Get(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(Negotiated negotiated, Negotiate(*request.http));
  const StoredObject stored =
      store_.Get({request.kind->storage, request.namespace_name, request.name});
  if (!stored) return NotFoundError(request.kind->resource_name(), request.name);
  const Encoder encoder(request.kind, *request.version, std::move(negotiated), clock_);
  return JsonResponse(200, encoder.Object(stored.value) + "\n");
}

std::string ObjectReader::Token(const Position& position) const {
  const std::string payload = absl::StrFormat("%d %s", position.revision, position.after);
  const std::string signature =
      net::Sha256Hex(token_key_ + payload + token_key_).substr(0, kSignatureDigits);
  return absl::WebSafeBase64Escape(signature + payload);
}

absl::StatusOr<ObjectReader::Position> ObjectReader::ParseToken(std::string_view token) const {
  const absl::Status malformed = BadRequestError("continue key is not valid");
  std::string text;
  if (!absl::WebSafeBase64Unescape(absl::string_view(token.data(), token.size()), &text) ||
      text.size() <= kSignatureDigits) {
    return malformed;
  }
  const std::string payload = text.substr(kSignatureDigits);
  const std::string signature =
      net::Sha256Hex(token_key_ + payload + token_key_).substr(0, kSignatureDigits);
  // A second spelling of the same bits is a forgery too.
  if (!net::EqualInConstantTime(signature, text.substr(0, kSignatureDigits)) ||
      absl::WebSafeBase64Escape(text) != token) {
    return malformed;
  }
  Position position;
  const size_t blank = payload.find(' ');
  ASSIGN_OR_RETURN(position.revision, ParseRevision(payload.substr(0, blank)));
  position.after = payload.substr(blank + 1);
  return position;
}

absl::StatusOr<ListRange> ObjectReader::Range(const ResourceRequest& request) const {
  const RequestOptions& options = request.options;
  ListRange range;
  range.resource = request.kind->storage;
  range.namespace_name = request.namespace_name;
  if (!options.continue_token.empty()) {
    ASSIGN_OR_RETURN(Position position, ParseToken(options.continue_token));
    range.at_revision = position.revision;
    range.after = std::move(position.after);
    return range;
  }
  if (options.resource_version.empty() || options.resource_version == "0") return range;
  ASSIGN_OR_RETURN(const uint64_t wanted, ParseRevision(options.resource_version));
  if (!store_.AwaitRevision(wanted, kRevisionWait)) {
    return TooLargeResourceVersionError(wanted, store_.revision());
  }
  if (options.resource_version_match == "Exact") range.at_revision = wanted;
  return range;
}

absl::StatusOr<ListResult> ObjectReader::Select(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(const Selector selector,
                   Selector::Parse(request.options.label_selector, request.options.field_selector,
                                   *request.kind, *request.version));
  ASSIGN_OR_RETURN(ListRange range, Range(request));
  const size_t limit = static_cast<size_t>(request.options.limit);
  if (selector.empty()) range.limit = limit;
  absl::StatusOr<ListResult> result = store_.List(range);
  if (!result.ok()) {
    return ExpiredError(
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter.");
  }
  if (selector.empty()) return result;
  std::erase_if(result->items,
                [&](const StoredObject& item) { return !selector.Matches(*item.value); });
  if (limit != 0 && result->items.size() > limit) {
    result->more = true;
    result->items.resize(limit);
  }
  return result;
}

absl::StatusOr<net::Response> ObjectReader::List(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(Negotiated negotiated, Negotiate(*request.http));
  ASSIGN_OR_RETURN(const ListResult result, Select(request));
  Encoder::ListHeader header;
  header.revision = result.revision;
  if (result.more) {
    header.continue_token = Token({result.revision, PathOf(result.items.back())});
    if (result.remaining > 0) header.remaining = result.remaining;
  }
  const Encoder encoder(request.kind, *request.version, std::move(negotiated), clock_);
  return JsonResponse(200, encoder.List(result.items, header));
}

absl::Status ObjectReader::Watch(const ResourceRequest& request,
                                 const std::shared_ptr<net::Exchange>& exchange) const {
  const RequestOptions& options = request.options;
  ASSIGN_OR_RETURN(Negotiated negotiated, Negotiate(*request.http));
  RETURN_IF_ERROR(CheckWatchList(options));
  WatchRequest watch;
  std::string field_selector = options.field_selector;
  if (!request.name.empty()) field_selector = "metadata.name=" + request.name;
  ASSIGN_OR_RETURN(watch.selector, Selector::Parse(options.label_selector, field_selector,
                                                   *request.kind, *request.version));
  watch.namespace_name = request.namespace_name;
  watch.encoder = std::make_shared<const Encoder>(request.kind, *request.version,
                                                  std::move(negotiated), clock_);
  watch.bookmarks = options.bookmarks;
  watch.timeout = WatchTimeout(options);
  watch.exchange = exchange;

  const bool from_now = options.resource_version.empty() || options.resource_version == "0";
  const bool initial = options.send_initial_events.value_or(from_now);
  if (!from_now) {
    ASSIGN_OR_RETURN(watch.after, ParseRevision(options.resource_version));
  }
  std::string text;
  if (initial) {
    if (!store_.AwaitRevision(watch.after, kRevisionWait)) {
      return TooLargeResourceVersionError(watch.after, store_.revision());
    }
    ListRange range;
    range.resource = request.kind->storage;
    range.namespace_name = request.namespace_name;
    ASSIGN_OR_RETURN(const ListResult present, store_.List(range));
    watch.after = present.revision;
    for (const StoredObject& item : present.items) {
      if (!watch.selector.Matches(*item.value)) continue;
      text += WatchHub::Line("ADDED", watch.encoder->Object(item.value, !watch.columns_sent));
      watch.columns_sent = true;
    }
    if (options.send_initial_events && options.bookmarks) {
      text += WatchHub::Line("BOOKMARK", watch.encoder->Bookmark(watch.after, true));
    }
  } else if (from_now) {
    watch.after = store_.revision();
  }
  exchange->Begin(200, {{"Content-Type", "application/json"}});
  if (!text.empty()) exchange->Write(std::move(text));
  if (const absl::Status added = hub_.Add(std::move(watch)); !added.ok()) {
    exchange->Write(WatchHub::Line("ERROR", boost::json::serialize(StatusJson(FromStatus(added)))));
    exchange->End();
  }
  return absl::OkStatus();
}

}  // namespace local_cluster
