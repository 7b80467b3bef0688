//! A request as the chat completions API spells it, as far as all endpoints understand it.

use super::mend::mend;
use super::{ChatRequest, Endpoint, Message, Tool, ToolCall, ToolChoice};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Value>,
    stream: bool,
    stream_options: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
}

/// The body of a request for a streamed reply.
pub(super) fn body(request: &ChatRequest, endpoint: &Endpoint) -> Vec<u8> {
    // OpenAI's newer models refuse the old name, and smaller servers do not know the new one.
    let (max_tokens, max_completion_tokens) =
        if endpoint.is_openai() { (None, request.max_tokens) } else { (request.max_tokens, None) };
    let body = Body {
        model: endpoint.model(),
        messages: mend(&request.messages).iter().map(message).collect(),
        stream: true,
        stream_options: json!({ "include_usage": true }),
        tools: request.tools.iter().map(tool).collect(),
        // Without functions there is no choice, and endpoints refuse to be given one.
        tool_choice: (!request.tools.is_empty()).then(|| choice(&request.tool_choice)),
        max_tokens,
        max_completion_tokens,
        temperature: request.temperature,
    };
    serde_json::to_vec(&body).expect("strings and numbers can be written as JSON")
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(text) => json!({ "role": "system", "content": text }),
        Message::User(text) => json!({ "role": "user", "content": text }),
        Message::Assistant { text, calls } if calls.is_empty() => {
            json!({ "role": "assistant", "content": text })
        }
        Message::Assistant { text, calls } => {
            // As endpoints themselves send it, and so take it back.
            let content = if text.is_empty() { Value::Null } else { text.as_str().into() };
            let calls: Vec<Value> = calls.iter().map(call).collect();
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
        Message::Tool { call_id, output } => {
            json!({ "role": "tool", "tool_call_id": call_id, "content": output })
        }
    }
}

fn call(call: &ToolCall) -> Value {
    // Endpoints read them as JSON, which nothing at all is not.
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let function = json!({ "name": call.name, "arguments": arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

fn tool(tool: &Tool) -> Value {
    // Some servers want a schema even where there are no arguments.
    let without = || json!({ "type": "object", "properties": {} });
    let parameters = tool.parameters.as_deref().and_then(|schema| serde_json::from_str(schema).ok());
    let mut function = json!({ "name": tool.name, "parameters": parameters.unwrap_or_else(without) });
    if let Some(description) = &tool.description {
        function["description"] = description.as_str().into();
    }
    json!({ "type": "function", "function": function })
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Function(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: &ChatRequest, base: &str) -> Value {
        let endpoint = Endpoint::new(base, "small", Some("sk-hunter2")).unwrap();
        serde_json::from_slice(&body(request, &endpoint)).unwrap()
    }

    #[test]
    fn a_plain_request_says_nothing_that_was_not_asked_for() {
        let messages = vec![Message::System("Be brief.".into()), Message::User("Hello.".into())];
        let request = ChatRequest { messages, tool_choice: ToolChoice::Required, ..ChatRequest::default() };
        let expected = json!({
            "model": "small",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "Hello." },
            ],
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        assert_eq!(written(&request, "http://llm/v1"), expected);
    }

    #[test]
    fn a_call_without_arguments_is_sent_with_empty_ones() {
        for arguments in ["", " \n"] {
            let told = call(&ToolCall { id: "c1".into(), name: "now".into(), arguments: arguments.into() });
            assert_eq!(told["function"]["arguments"], "{}", "{arguments:?}");
        }
    }

    #[test]
    fn functions_are_offered_and_their_calls_and_results_told() {
        let calls = vec![ToolCall { id: "c1".into(), name: "now".into(), arguments: "{}".into() }];
        let offered = |name: &str, parameters: Option<&str>| Tool {
            name: name.into(),
            description: parameters.map(|_| "Tells the weather.".into()),
            parameters: parameters.map(str::to_owned),
        };
        let request = ChatRequest {
            messages: vec![
                Message::User("What time is it?".into()),
                Message::Assistant { text: String::new(), calls },
                Message::Tool { call_id: "c1".into(), output: "noon".into() },
            ],
            tools: vec![offered("now", None), offered("weather", Some("{\"type\":\"object\"}"))],
            tool_choice: ToolChoice::Function("now".into()),
            max_tokens: Some(9),
            temperature: Some(0.5),
            ..ChatRequest::default()
        };
        let body = written(&request, "http://llm/v1");
        let call =
            json!({ "id": "c1", "type": "function", "function": { "name": "now", "arguments": "{}" } });
        assert_eq!(
            body["messages"][1],
            json!({ "role": "assistant", "content": null, "tool_calls": [call] })
        );
        assert_eq!(body["messages"][2], json!({ "role": "tool", "tool_call_id": "c1", "content": "noon" }));
        let empty = json!({ "type": "object", "properties": {} });
        assert_eq!(body["tools"][0]["function"], json!({ "name": "now", "parameters": empty }));
        assert_eq!(body["tools"][1]["function"]["description"], "Tells the weather.");
        assert_eq!(body["tools"][1]["function"]["parameters"], json!({ "type": "object" }));
        assert_eq!(body["tool_choice"], json!({ "type": "function", "function": { "name": "now" } }));
        assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(9), &json!(0.5)));
        assert_eq!(written(&request, "https://api.openai.com/v1")["max_completion_tokens"], 9);
    }
}
