// Starts `trtn lsp` and hands it to the editor.

const { commands, workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const settings = workspace.getConfiguration("trtn");
  const [command, ...args] = settings.get("command");
  const folder = workspace.workspaceFolders?.[0]?.uri.fsPath;
  client = new LanguageClient(
    "trtn",
    "trtn",
    { command, args, options: { cwd: folder } },
    {
      documentSelector: [{ language: "trtn" }],
      initializationOptions: { allowOutside: settings.get("allowOutside") },
      synchronize: { fileEvents: workspace.createFileSystemWatcher("**/*.trtn") },
    },
  );
  await client.start();
}

async function activate(context) {
  context.subscriptions.push(
    commands.registerCommand("trtn.restart", async () => {
      await client?.dispose();
      await start();
    }),
  );
  await start();
}

async function deactivate() {
  await client?.stop();
}

module.exports = { activate, deactivate };
