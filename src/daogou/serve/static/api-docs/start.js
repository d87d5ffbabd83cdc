// Starts the page; a file of its own, because the security policy allows no inline script. validatorUrl null: nothing leaves this server.
window.SwaggerUIBundle({ url: "/v1/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null, persistAuthorization: false });
