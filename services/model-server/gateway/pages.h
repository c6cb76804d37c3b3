// Documents that are compiled in.

#pragma once

#include <string>
#include <string_view>

namespace model_server::gateway {

// The chat page and the API's description; made from chat_page.html and openapi.json.
extern const std::string_view kChatPage;
extern const std::string_view kOpenApiDocument;

// A policy under which the page's own inline script and style run and nothing else does, by their
// hashes.
std::string ContentSecurityPolicy(std::string_view page);

}  // namespace model_server::gateway
